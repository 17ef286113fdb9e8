"""From volume nodes to what is sent, and from answers to nodes: on a real MRML scene."""

import json

import numpy as np
import pytest
from mrml_scene import OBLIQUE, affine, document, slicer, vtk
from Sim4SegLib import boxes, overlay, reports, segments, terms, volumes

from Sim4SegCore.case import Geometry
from Sim4SegCore.errors import Sim4SegError

SHAPE = (6, 7, 8)
AFFINES = {
    "standard": affine((1, 1, 1), np.diag([-1.0, -1.0, 1.0])),
    "RAS": affine(),
    "anisotropic": affine((0.7, 0.7, 6.5), np.diag([-1.0, -1.0, 1.0]), (90, 80, -40)),
    "flipped": affine((1, 2, 3), np.diag([1.0, -1.0, -1.0]), (5, 6, 7)),
    "left-handed": affine((1, 1, 2), np.diag([1.0, -1.0, 1.0])),
    "oblique": affine((0.8, 1.1, 4.0), OBLIQUE, (12.5, -33.0, 7.0)),
    "sagittal": affine((1, 1, 3), np.array([[0, 0, 1.0], [-1, 0, 0], [0, -1, 0]]), (1, 2, 3)),
}
MOVED = affine((1, 1, 1), OBLIQUE.T, (100, -50, 20))


@pytest.fixture(params=AFFINES.values(), ids=list(AFFINES))
def to_ras(request):
    return request.param


def made_up(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).integers(-1000, 1000, shape, dtype=np.int16)


def ask_and_import(scene, volume, image, mask, labels=("breast mass",)):
    node = segments.new_segmentation(scene.mrml, volume, "answer")
    answer = document(labels=labels)
    return node, add(node, image, answer, [mask] * len(labels))


def add(node, image, answer, masks):
    """Findings of a slice."""
    found = [boxes.box_of_slice(mask, image.plane, image.shape) for mask in masks]
    return segments.add_findings(node, image.ijk_to_ras, answer, found)


@pytest.mark.parametrize("is_moved", [False, True], ids=["still", "moved"])
@pytest.mark.parametrize("orientation", ["Axial", "Sagittal", "Coronal"])
def test_the_mask_of_a_slice_lies_on_the_voxels_it_is_about(scene, to_ras, orientation, is_moved):
    voxels = made_up()
    volume = scene.volume(voxels, to_ras)
    world = to_ras
    if is_moved:
        volume.SetAndObserveTransformNodeID(scene.transform(MOVED).GetID())
        world = MOVED @ to_ras
    view = scene.slice_view(orientation, (world @ [3.0, 3.0, 3.0, 1.0])[:3])

    image = volumes.slice_shown(volume, view)
    mask = image.voxels[0] > 0
    node, added = ask_and_import(scene, volume, image, mask)

    inside = segments.segment_mask(node, added[0], volume)
    assert np.array_equal(image.plane.take(inside), mask)
    assert inside.sum() == mask.sum()
    assert (voxels[inside] > 0).all()
    by_slicer = slicer.util.arrayFromSegmentBinaryLabelmap(node, added[0], volume)
    assert np.array_equal(by_slicer > 0, inside)


def test_a_segment_of_a_moved_volume_is_moved_once(scene, to_ras):
    volume = scene.volume(made_up(), to_ras)
    volume.SetAndObserveTransformNodeID(scene.transform(MOVED).GetID())
    image = volumes.slice_shown(volume, None)
    node, added = ask_and_import(scene, volume, image, np.ones(image.voxels.shape[1:], bool))
    assert node.GetTransformNodeID() == volume.GetTransformNodeID()
    by_node, by_volume = [0.0] * 6, [0.0] * 6
    node.GetRASBounds(by_node)
    volume.GetSliceBounds(by_volume, None)
    placed = np.argwhere(segments.segment_mask(node, added[0], volume)).mean(axis=0)
    k, j, i = placed
    expected = MOVED @ to_ras @ [i, j, k, 1]
    middle = (np.array(by_node[::2]) + np.array(by_node[1::2])) / 2
    assert np.allclose(middle, expected[:3], atol=1e-6)


def test_the_whole_volume_goes_there_and_back(scene, to_ras):
    voxels = made_up(1)
    volume = scene.volume(voxels, to_ras)
    image = volumes.whole(volume)
    assert np.array_equal(image.voxels, voxels)
    masks = [voxels[2:5] > 0]
    node = segments.new_segmentation(scene.mrml, volume, "answer")
    found = [boxes.box_of_volume(mask, (2, 0, 0)) for mask in masks]
    (added,) = segments.add_findings(node, image.ijk_to_ras, document(), found)
    expected = np.zeros(SHAPE, bool)
    expected[2:5] = masks[0]
    assert np.array_equal(segments.segment_mask(node, added, volume), expected)


def test_what_is_sent_has_the_geometry_of_the_slice_in_mm(scene):
    volume = scene.volume(made_up(), affine((0.5, 0.5, 3.0), np.diag([-1.0, -1.0, 1.0]), (9, 8, 7)))
    image = volumes.slice_shown(volume, None)
    assert image.plane.axis == 0 and image.plane.index == 3
    assert image.geometry == Geometry(
        (0.5, 0.5, 3.0), (-9.0, -8.0, 16.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    )


def test_a_picture_is_sent_as_it_is_on_disk(scene):
    colours = np.random.default_rng(2).integers(0, 255, (1, 20, 30, 3), dtype=np.uint8)
    picture = scene.volume(colours, affine((1, 1, 1), np.diag([-1.0, -1.0, 1.0])))
    image = volumes.slice_shown(picture, scene.slice_view())
    assert np.array_equal(image.voxels, colours)
    assert image.window is None
    assert image.geometry is None, "nobody knows how large its pixels are"
    grey = scene.volume(colours[..., 0], affine((1, 1, 1), np.diag([-1.0, -1.0, 1.0])))
    assert np.array_equal(volumes.slice_shown(grey, None).voxels, colours[..., 0])


def test_transparency_is_left_out(scene):
    colours = np.random.default_rng(2).integers(0, 255, (1, 20, 30, 4), dtype=np.uint8)
    picture = scene.volume(colours, affine((1, 1, 1), np.diag([-1.0, -1.0, 1.0])))
    assert np.array_equal(volumes.slice_shown(picture, None).voxels, colours[..., :3])


def test_volumes_that_cannot_be_asked_about_are_refused_in_one_sentence(scene):
    empty = scene.mrml.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    label_map = scene.mrml.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    slicer.util.updateVolumeFromArray(label_map, np.zeros(SHAPE, np.uint8))
    two = scene.volume(np.zeros((*SHAPE, 2), np.uint8))
    for volume, reason in (
        (None, "no volume"),
        (empty, "no volume"),
        (label_map, "label map"),
        (two, "2 components"),
    ):
        with pytest.raises(Sim4SegError, match=reason):
            volumes.slice_shown(volume, None)


def test_the_scene_is_the_same_after_looking_at_it(scene):
    volume = scene.volume(made_up())
    before, changed = scene.classes(), volume.GetMTime()
    volumes.slice_shown(volume, None)
    volumes.whole(volume)
    assert (scene.classes(), volume.GetMTime()) == (before, changed)


def bent(scene):
    """A transform that no matrix can say."""
    spline = vtk.vtkThinPlateSplineTransform()
    corners, moved = vtk.vtkPoints(), vtk.vtkPoints()
    for x in (0, 10):
        for y in (0, 10):
            for z in (0, 10):
                corners.InsertNextPoint(x, y, z)
                moved.InsertNextPoint(x + x * y / 10, y, z + 50)
    spline.SetSourceLandmarks(corners)
    spline.SetTargetLandmarks(moved)
    spline.SetBasisToR()
    node = scene.mrml.AddNewNodeByClass("vtkMRMLTransformNode", "bent")
    node.SetAndObserveTransformToParent(spline)
    return node


def test_the_slice_of_a_bent_volume_is_not_guessed(scene):
    volume = scene.volume(made_up())
    volume.SetAndObserveTransformNodeID(bent(scene).GetID())
    with pytest.raises(Sim4SegError, match="bends"):
        volumes.slice_shown(volume, scene.slice_view("Axial", (3.0, 3.0, 3.0)))
    assert volumes.whole(volume).voxels.shape == SHAPE
    assert volumes.slice_centre(volume, 0, 2)[2] == pytest.approx(52)


def test_looking_for_nodes_keeps_none_of_them_alive(scene):
    volume = scene.volume(made_up())
    report = reports.add_report(scene.mrml, volume, document(), None)
    view = scene.slice_view()
    composite = scene.mrml.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    before = [node.GetReferenceCount() for node in (report, view, composite)]
    for _ in range(3):
        reports.reports_about(scene.mrml, volume)
        overlay.show_similarity(scene.mrml, None, 0.0)
        volumes.jump_to(scene.mrml, (0.0, 0.0, 0.0))
    assert [node.GetReferenceCount() for node in (report, view, composite)] == before
    gone = []
    report.AddObserver("DeleteEvent", lambda *_: gone.append(True))
    scene.mrml.RemoveNode(report)
    del report
    assert gone == [True]


def test_new_segments_stand_beside_the_old_ones_and_never_replace_them(scene):
    volume = scene.volume(made_up())
    image = volumes.slice_shown(volume, None)
    shape = image.voxels.shape[1:]
    node = segments.new_segmentation(scene.mrml, volume, "answer")
    first = np.zeros(shape, bool)
    first[1:3, 1:4] = True
    everywhere = np.ones(shape, bool)
    (one,) = add(node, image, document(), [first])
    (two,) = add(node, image, document(), [everywhere])
    assert one != two
    assert np.array_equal(image.plane.take(segments.segment_mask(node, one, volume)), first)
    names = [node.GetSegmentation().GetSegment(each).GetName() for each in (one, two)]
    assert names == ["breast mass", "breast mass 2"]


def test_what_was_not_found_adds_no_segment(scene):
    volume = scene.volume(made_up())
    image = volumes.slice_shown(volume, None)
    node = segments.new_segmentation(scene.mrml, volume, "answer")
    nothing = np.zeros(image.voxels.shape[1:], bool)
    assert add(node, image, document(), [nothing]) == ()
    assert node.GetSegmentation().GetNumberOfSegments() == 0


@pytest.mark.parametrize(
    "label", ["left lung", "Right  Lung", "skin lesion", "tumor", "unheard of"]
)
def test_segments_are_named_by_terminology_that_slicer_understands(scene, label, tmp_path):
    path = tmp_path / "findings.term.json"
    path.write_text(json.dumps(terms.slicer_terminology()), encoding="utf-8")
    assert scene.terminologies.LoadTerminologyFromFile(str(path)) == terms.CONTEXT
    volume = scene.volume(made_up())
    image = volumes.slice_shown(volume, None)
    node, (added,) = ask_and_import(
        scene, volume, image, np.ones(image.voxels.shape[1:], bool), (label,)
    )
    segment = node.GetSegmentation().GetSegment(added)
    assert segment.GetName() == label
    entry = slicer.vtkSlicerTerminologyEntry()
    text = segments.tag_of(segment, segment.GetTerminologyEntryTagName())
    assert scene.terminologies.DeserializeTerminologyEntry(text, entry)
    assert scene.terminologies.UpdateEntryFromLoadedTerminologies(
        entry, vtk.vtkStringArray(), vtk.vtkStringArray()
    )
    meaning = entry.GetTypeObject().GetCodeMeaning()
    region = entry.GetRegionObject().GetCodeMeaning()
    expected = {
        "left lung": ("Left lung structure", "Chest"),
        "Right  Lung": ("Right lung structure", "Chest"),
        "skin lesion": ("Skin lesion", "Skin"),
        "tumor": ("Neoplasm", None),
        "unheard of": ("Finding that the answer does not name", None),
    }
    assert (meaning, region or None) == expected[label]


def test_every_target_of_training_has_a_term_and_a_colour_of_its_own_kind():
    from training.targets import SYNONYMS

    for label in SYNONYMS:
        term = terms.term_for(label)
        assert "UNNAMED-FINDING" not in term.serialized
        assert all(0 <= part <= 1 for part in term.colour)


def test_slicer_and_the_dicom_objects_name_a_finding_by_the_same_code():
    from Sim4SegCore.report.terminology import terminology

    for label in ("left lung", "skin lesion", "tubings", "lung nodule"):
        code = terminology().structure(label).code
        assert f"~{code.value}^{code.scheme}^{code.meaning}~" in terms.term_for(label).serialized


def test_the_report_holds_any_language_and_finds_its_answer_again(scene):
    volume = scene.volume(made_up())
    answer = document('Gibt es einen Tumor? 肿瘤? «ü»\n"quoted" & <b>')
    node = reports.add_report(scene.mrml, volume, answer, None)
    assert "肿瘤" in node.GetText() and "91" not in node.GetText()
    assert node.GetEncoding() == vtk.VTK_ENCODING_UTF_8
    assert reports.document_of(node) == answer
    assert reports.reports_about(scene.mrml, volume) == [node]


def test_a_saved_scene_brings_everything_back(scene, tmp_path):
    volume = scene.volume(made_up(), AFFINES["oblique"])
    volume.SetAndObserveTransformNodeID(scene.transform(MOVED).GetID())
    image = volumes.slice_shown(volume, None)
    mask = image.voxels[0] > 0
    node = segments.new_segmentation(scene.mrml, volume, "answer")
    answer = document("Tümör: 100 % | ja?\n%7C")
    added = add(node, image, answer, [mask])
    report = reports.add_report(scene.mrml, volume, answer, image.plane)
    reports.link(report, node, added)
    seen = np.random.default_rng(0).random(image.voxels.shape).astype(np.float32)
    similarity = overlay.add_similarity(scene.mrml, volume, image, seen, 0)
    place = volumes.ijk_to_ras_of(similarity)
    report.SetNodeReferenceID(reports.SIMILARITY_ROLE, similarity.GetID())
    expected = segments.segment_mask(node, added[0], volume)
    path = tmp_path / "szene ü.mrb"
    assert scene.mrml.WriteToMRB(str(path), None)

    scene.mrml.Clear(1)
    scene.allow_reading_bundles(tmp_path)
    assert scene.mrml.ReadFromMRB(str(path), True)
    volume = scene.mrml.GetFirstNodeByName("scan")
    node = scene.mrml.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    (report,) = reports.reports_about(scene.mrml, volume)
    assert reports.document_of(report) == answer
    assert "Tümör: 100 %" in report.GetText()
    assert report.GetNodeReference(reports.SEGMENTATION_ROLE) is node
    assert reports.segments_of(report) == added
    assert node.GetTransformNodeID() == volume.GetTransformNodeID()
    segment = node.GetSegmentation().GetSegment(added[0])
    assert segments.tag_of(segment, segments.QUERY_TAG) == answer["query"]
    assert reports.plane_of(report) == image.plane
    assert np.array_equal(segments.segment_mask(node, added[0], volume), expected)
    similarity = report.GetNodeReference(reports.SIMILARITY_ROLE)
    assert np.array_equal(slicer.util.arrayFromVolume(similarity), seen)
    assert np.allclose(volumes.ijk_to_ras_of(similarity), place)
    assert similarity.GetTransformNodeID() == volume.GetTransformNodeID()
    display = similarity.GetScalarVolumeDisplayNode()
    assert display.GetApplyThreshold() and display.GetWindowLevelMax() == pytest.approx(seen.max())
    composite = scene.slice_view() and scene.mrml.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    for opacity, shown in ((0.4, similarity.GetID()), (0.0, None)):
        overlay.show_similarity(scene.mrml, similarity, opacity)
        assert composite.GetForegroundVolumeID() == shown


def test_a_segment_in_another_geometry_is_resampled_to_the_volumes_voxels(scene):
    volume = scene.volume(made_up(shape=(4, 8, 8)), affine((2, 2, 2)))
    finer = np.zeros((8, 16, 16), np.uint8)
    finer[2:4, 4:8, 6:12] = 1
    node = segments.new_segmentation(scene.mrml, volume, "answer")
    box = boxes.box_of_volume(finer)
    added = segments.add_segment(node, "tumor", box, affine((1, 1, 1), None, (-0.5,) * 3), {})
    expected = np.zeros((4, 8, 8), bool)
    expected[1:2, 2:4, 3:6] = True
    assert np.array_equal(segments.segment_mask(node, added, volume), expected)


def test_the_similarity_map_lies_on_its_slice_and_can_be_taken_away(scene):
    volume = scene.volume(made_up(), AFFINES["oblique"])
    scene.slice_view()
    composite = scene.mrml.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    image = volumes.slice_shown(volume, None)
    values = np.random.default_rng(0).random(image.voxels.shape).astype(np.float32)
    node = overlay.add_similarity(scene.mrml, volume, image, values, 0)
    assert np.array_equal(slicer.util.arrayFromVolume(node), values)
    assert np.allclose(volumes.ijk_to_ras_of(node), image.plane.ijk_to_ras(image.ijk_to_ras, SHAPE))
    overlay.show_similarity(scene.mrml, node, 0.4)
    assert composite.GetForegroundVolumeID() == node.GetID()
    assert composite.GetForegroundOpacity() == pytest.approx(0.4)
    overlay.show_similarity(scene.mrml, node, 0.0)
    assert composite.GetForegroundVolumeID() is None
    composite.SetForegroundVolumeID(volume.GetID())
    overlay.show_similarity(scene.mrml, None, 0.4)
    assert composite.GetForegroundVolumeID() == volume.GetID()


def test_the_users_own_foreground_comes_back_when_the_map_goes(scene):
    volume = scene.volume(made_up())
    other = scene.volume(made_up(1), name="PET")
    scene.slice_view()
    composite = scene.mrml.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    composite.SetForegroundVolumeID(other.GetID())
    composite.SetForegroundOpacity(0.3)
    image = volumes.slice_shown(volume, None)
    one, two = (
        overlay.add_similarity(scene.mrml, volume, image, np.ones((1, 7, 8), np.float32), 0)
        for _ in range(2)
    )
    overlay.show_similarity(scene.mrml, one, 0.6)
    overlay.show_similarity(scene.mrml, one, 0.7)
    scene.mrml.RemoveNode(one)
    overlay.show_similarity(scene.mrml, two, 0.8)
    assert composite.GetForegroundVolumeID() == two.GetID()
    scene.mrml.RemoveNode(two)
    overlay.show_similarity(scene.mrml, None, 0.8)
    assert composite.GetForegroundVolumeID() == other.GetID()
    assert composite.GetForegroundOpacity() == pytest.approx(0.3)
    composite.SetForegroundOpacity(0.5)
    overlay.show_similarity(scene.mrml, None, 0.8)
    assert composite.GetForegroundOpacity() == pytest.approx(0.5)
