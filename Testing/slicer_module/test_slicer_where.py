"""Where to look: regions of interest as crops, points as corrections of the mask."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mrml_scene import OBLIQUE, affine, slicer
from services import FakeLocalService, ManualTicker
from Sim4SegLib import boxes, outcome, region, segments, volumes
from Sim4SegLib.connection import Connection, ServiceSettings
from Sim4SegLib.planes import Crop, Plane, plane_through
from Sim4SegLib.points import Points, keep_touched, sentence
from Sim4SegLib.queries import Queries, QueryRequest

from Sim4SegCore.errors import Sim4SegError

SHAPE = (6, 60, 70)
LPS = np.diag([-1.0, -1.0, 1.0])
LOCAL = ServiceSettings()


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    local = FakeLocalService(tmp_path_factory.mktemp("log") / "service.log")
    yield local
    local.stop()


@pytest.fixture
def asked(scene, service):
    return Queries(lambda: scene.mrml, Connection(service), ManualTicker(), lambda: None)


def roi(scene, centre, size, transform=None):
    node = scene.mrml.AddNode(slicer.vtkMRMLMarkupsROINode())
    node.SetCenter(*centre)
    node.SetSize(*size)
    if transform is not None:
        node.SetAndObserveTransformNodeID(transform.GetID())
    return node


def points(scene, *places):
    node = scene.mrml.AddNode(slicer.vtkMRMLMarkupsFiducialNode())
    for place in places:
        node.AddControlPointWorld(*place)
    return node


def world(volume, k, j, i):
    return (volumes.ijk_to_world_of(volume) @ [i, j, k, 1.0])[:3]


def scan(scene, to_ras, seed=0):
    voxels = np.random.default_rng(seed).integers(-500, 500, SHAPE, dtype=np.int16)
    return scene.volume(voxels, to_ras)


@given(
    st.integers(0, 2),
    st.integers(0, 3),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(0, 10**6),
)
def test_a_crop_is_a_part_of_the_slice_in_its_place(axis, index, turned, rows, columns, seed):
    random = np.random.default_rng(seed)
    volume = random.integers(0, 1000, (4, 5, 6))
    plane = Plane(axis, index, turned, rows, columns)
    whole = plane.take(volume)
    crop = Crop(1, 2, 2, 1)
    part = Plane(axis, index, turned, rows, columns, crop)
    assert np.array_equal(part.take(volume), whole[1:3, 2:3])
    empty = np.zeros_like(volume)
    part.put(part.take(volume), empty)
    assert np.array_equal(plane.take(empty)[1:3, 2:3], whole[1:3, 2:3])
    assert np.count_nonzero(empty) <= 2
    to_ras = affine((0.5, 2.0, 3.0), np.linalg.qr(random.normal(size=(3, 3)))[0], (7, 8, 9))
    first = part.ijk_to_ras(to_ras, volume.shape) @ [0, 0, 0, 1]
    assert np.allclose(first, plane.ijk_to_ras(to_ras, volume.shape) @ [2, 1, 0, 1])


@given(st.integers(0, 2), st.booleans(), st.booleans(), st.booleans(), st.integers(0, 10**6))
def test_a_voxel_is_found_in_the_slice_that_shows_it(axis, turned, rows, columns, seed):
    random = np.random.default_rng(seed)
    shape = (4, 5, 6)
    voxel = np.array([random.integers(0, side) for side in shape])
    volume = np.zeros(shape, bool)
    volume[tuple(voxel)] = True
    plane = Plane(axis, int(voxel[axis]), turned, rows, columns)
    place = plane.pixel_of(voxel, shape)
    assert np.argwhere(plane.take(volume)).tolist() == [list(place)]
    elsewhere = Plane(axis, int(voxel[axis]) + 1, turned, rows, columns)
    assert elsewhere.pixel_of(voxel, shape) is None


@pytest.mark.parametrize("is_moved", [False, True], ids=["still", "moved"])
@pytest.mark.parametrize("orientation", ["Axial", "Sagittal", "Coronal"])
def test_the_model_sees_what_the_region_cuts_out_of_the_slice(scene, orientation, is_moved):
    voxels = np.random.default_rng(0).integers(-500, 500, (24, 60, 70), dtype=np.int16)
    volume = scene.volume(voxels, affine((1.0, 1.0, 3.0), LPS, (4, 5, 6)))
    transform = scene.transform(affine((1, 1, 1), OBLIQUE, (30, 20, 10))) if is_moved else None
    # 10 voxels to each side along i and j, 9 along k.
    drawn = roi(scene, (4 - 35, 5 - 30, 6 + 36), (20.2, 20.2, 54.2), transform)
    if is_moved:
        volume.SetAndObserveTransformNodeID(transform.GetID())
    view = scene.slice_view(orientation, world(volume, 12, 30, 35))
    image = volumes.slice_shown(volume, view, region.corners_of(drawn))
    inside = np.zeros(voxels.shape, bool)
    image.plane.put(np.ones(image.voxels.shape[1:], bool), inside)
    expected = np.zeros(voxels.shape, bool)
    box = [slice(3, 22), slice(20, 41), slice(25, 46)]
    axis = image.plane.axis
    box[axis] = slice(image.plane.index, image.plane.index + 1)
    expected[tuple(box)] = True
    assert image.plane.index == (12, 30, 35)[axis]
    assert np.array_equal(inside, expected)
    assert np.array_equal(image.plane.take(voxels), image.voxels[0])


def test_a_region_of_whole_voxels_is_cut_exactly(scene):
    volume = scan(scene, affine((1, 1, 5), None, (0, 0, 0)))
    # Voxel centres 10..29 along i, 20..45 along j.
    drawn = roi(scene, (19.5, 32.5, 10), (20, 26, 4))
    image = volumes.slice_shown(
        volume, scene.slice_view("Axial", (0, 0, 10)), region.corners_of(drawn)
    )
    inside = np.zeros(SHAPE, bool)
    image.plane.put(np.ones(image.voxels.shape[1:], bool), inside)
    expected = np.zeros(SHAPE, bool)
    expected[2, 20:46, 10:30] = True
    assert (inside & expected).sum() == expected.sum()
    assert inside.sum() <= 28 * 22, "half a voxel around it at most"
    whole = volumes.whole(volume, region.corners_of(drawn))
    assert whole.offset[0] == 2 and whole.voxels.shape[0] == 1


@pytest.mark.parametrize(
    ("centre", "size", "reason"),
    [
        ((30, 30, 25), (30, 30, 4), "does not cut the slice"),
        ((30, 30, 10), (3, 30, 4), "at least 16"),
        ((30, 30, 10), (0, 30, 4), "no extent"),
    ],
)
def test_a_region_that_does_not_help_is_refused_in_one_sentence(scene, centre, size, reason):
    volume = scan(scene, affine((1, 1, 5)))
    view = scene.slice_view("Axial", (0, 0, 10))
    with pytest.raises(Sim4SegError, match=reason):
        volumes.slice_shown(volume, view, region.corners_of(roi(scene, centre, size)))


def test_a_region_beside_the_volume_is_refused(scene):
    volume = scan(scene, affine((1, 1, 5)))
    with pytest.raises(Sim4SegError, match="beside the volume"):
        volumes.whole(volume, region.corners_of(roi(scene, (900, 0, 0), (30, 30, 30))))


def test_an_answer_about_a_region_lies_in_the_whole_volume(scene, asked):
    volume = scan(scene, affine((0.8, 0.8, 5.0), OBLIQUE, (3, 2, 1)))
    view = scene.slice_view("Axial", world(volume, 2, 30, 35))
    drawn = roi(scene, world(volume, 2, 30, 35), (22, 24, 20))
    request = QueryRequest(volume, "What is bright?", sliceNode=view, roiNode=drawn)
    result = asked.wait(asked.start(request, LOCAL))
    image = volumes.slice_shown(volume, view, region.corners_of(drawn))
    assert image.plane.crop is not None
    expected = np.zeros(SHAPE, bool)
    image.plane.put(image.voxels[0] > image.voxels[0].mean(), expected)
    (identity,) = result.segmentIds
    found = segments.segment_mask(result.segmentationNode, identity, volume)
    assert np.array_equal(found, expected)
    similarity = slicer.util.arrayFromVolume(result.similarityNode)
    assert similarity.shape == image.voxels.shape
    place = image.plane.ijk_to_ras(image.ijk_to_ras, SHAPE)
    assert np.allclose(volumes.ijk_to_ras_of(result.similarityNode), place)
    (seen,) = outcome.outcomes_of(outcome.reading_of(result.textNode))
    assert seen.pixels.shape == image.voxels.shape[1:], "a record holds what the model saw"


def test_a_volume_is_asked_within_the_region_and_slices_count_from_its_own_first(scene, asked):
    volume = scan(scene, affine((1.0, 1.0, 5.0), LPS))
    centre = world(volume, 3, 30, 30)
    drawn = roi(scene, centre, (40, 40, 15))
    request = QueryRequest(volume, "What is bright?", mode="slices", roiNode=drawn)
    result = asked.wait(asked.start(request, LOCAL))
    voxels = slicer.util.arrayFromVolume(volume)
    box = region.box_of(region.corners_of(drawn), volumes.ijk_to_world_of(volume), SHAPE)
    expected = np.zeros(SHAPE, bool)
    expected[box] = voxels[box] > voxels[box].mean()
    (identity,) = result.segmentIds
    found = segments.segment_mask(result.segmentationNode, identity, volume)
    assert np.array_equal(found, expected)
    part = result.document["volume"]
    marked = np.flatnonzero(expected.any((1, 2)))
    assert box[0].start > 0
    assert part["slice_range"] == [marked[0], marked[-1]]
    assert [row["index"] for row in part["slices"]] == list(range(box[0].start, box[0].stop))
    assert f"k = {marked[0]} to {marked[-1]}" in result.document["report"]["text"]


def blobs(*places, shape=(1, 40, 50)):
    mask = np.zeros(shape, bool)
    for k, j, i in places:
        mask[k, j : j + 4, i : i + 4] = True
    return mask


def test_positive_points_keep_the_parts_that_they_touch():
    mask = blobs((0, 5, 5), (0, 20, 20), (0, 30, 5))
    touched = keep_touched(mask, Points(positive=((0, 6, 6), (0, 19, 19))))
    assert np.array_equal(touched.mask, blobs((0, 5, 5), (0, 20, 20)))
    assert (touched.kept, touched.removed, touched.missed) == (2, 1, 0)


def test_negative_points_leave_out_the_parts_that_they_touch():
    mask = blobs((0, 5, 5), (0, 20, 20), (0, 30, 5))
    touched = keep_touched(mask, Points(negative=((0, 6, 6),)))
    assert np.array_equal(touched.mask, blobs((0, 20, 20), (0, 30, 5)))
    both = keep_touched(mask, Points(((0, 6, 6), (0, 21, 21)), ((0, 6, 7),)))
    assert np.array_equal(both.mask, blobs((0, 20, 20)))


def test_points_on_nothing_change_nothing_and_are_counted():
    mask = blobs((0, 5, 5))
    touched = keep_touched(mask, Points(positive=((0, 30, 40),)))
    assert np.array_equal(touched.mask, mask) and touched.missed == 1
    assert "on nothing that was found: 1" in sentence([touched], 0)
    nothing = keep_touched(np.zeros((1, 9, 9), bool), Points(positive=((0, 3, 3),)))
    assert not nothing.mask.any() and nothing.missed == 1


def test_parts_hang_together_across_slices():
    mask = blobs((0, 5, 5), (1, 7, 7), (3, 5, 5), shape=(4, 40, 50))
    touched = keep_touched(mask, Points(positive=((0, 5, 5),)))
    assert np.array_equal(touched.mask, blobs((0, 5, 5), (1, 7, 7), shape=(4, 40, 50)))


@pytest.mark.parametrize("mode", ["slice", "slices"])
def test_points_choose_among_the_parts_and_all_numbers_follow(scene, asked, mode):
    voxels = np.zeros(SHAPE, np.int16)
    for j, i in ((10, 10), (10, 50), (40, 30)):
        voxels[2:4, j : j + 8, i : i + 8] = 1000
    volume = scene.volume(voxels, affine((0.5, 0.5, 3.0), OBLIQUE, (3, 2, 1)))
    view = scene.slice_view("Axial", world(volume, 3, 30, 35))
    request = QueryRequest(
        volume,
        "What is bright?",
        mode,
        view,
        positiveNode=points(scene, world(volume, 3, 13, 13), world(volume, 3, 45, 35)),
        negativeNode=points(scene, world(volume, 3, 44, 33), world(volume, 99, 0, 0)),
    )
    result = asked.wait(asked.start(request, LOCAL))
    expected = np.zeros(SHAPE, bool)
    depth = slice(3, 4) if mode == "slice" else slice(2, 4)
    expected[depth, 10:18, 10:18] = True
    (identity,) = result.segmentIds
    found = segments.segment_mask(result.segmentationNode, identity, volume)
    assert np.array_equal(found, expected)
    (finding,) = result.document["findings"]
    if mode == "slice":
        assert finding["measurements"]["area_mm2"] == pytest.approx(64 * 0.25)
        assert "64" not in str(finding["measurements"]["image_fraction"])
        (row,) = (r for r in result.document["report"]["measurements"] if r["name"] == "area")
        assert row["value"] == pytest.approx(16.0)
    else:
        assert finding["measurements"]["volume_mm3"] == pytest.approx(2 * 64 * 0.75)
        areas = [row["area_mm2"] for row in result.document["volume"]["slices"]]
        assert areas == pytest.approx([0, 0, 16, 16, 0, 0])
    warning = result.document["warnings"][-1]
    assert "1 kept, 2 left out" in warning and "outside of what was asked about: 1" in warning
    assert warning in result.textNode.GetText()
    assert outcome.reading_of(result.textNode).is_corrected is False


def test_a_mask_box_holds_the_mask_and_no_emptiness():
    mask = np.zeros((5, 6, 7), bool)
    assert boxes.box_of_volume(mask) is None
    mask[2, 3:5, 1:4] = True
    box = boxes.box_of_volume(mask, (10, 0, 0))
    assert box.first == (12, 3, 1) and box.voxels.shape == (1, 2, 3) and box.voxels.all()
    assert boxes.digest(box) != boxes.digest(boxes.box_of_volume(mask))


def test_a_picture_can_be_cropped_whatever_its_depth(scene):
    colours = np.random.default_rng(2).integers(0, 255, (1, 60, 70, 3), dtype=np.uint8)
    picture = scene.volume(colours, affine((1, 1, 1), LPS))
    drawn = roi(scene, (-30, -25, 40), (30, 26, 90))
    image = volumes.slice_shown(picture, None, region.corners_of(drawn))
    assert image.voxels.shape[1] < 60 and image.voxels.shape[2] < 70
    plane = plane_through(volumes.ijk_to_ras_of(picture), (1, 60, 70))
    assert image.plane.axis == plane.axis == 0
