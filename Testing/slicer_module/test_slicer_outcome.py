"""What a reader keeps of an answer: records for training, and files for people."""

import hashlib
import json
import types

import numpy as np
import pytest
from mrml_scene import OBLIQUE, affine, document
from PIL import Image
from Sim4SegLib import boxes, dataset, exporting, outcome, reports, segments, volumes

from Sim4SegCore.errors import Sim4SegError
from training.records import read_records
from training.views import ImageStore

SHAPE = (4, 40, 50)


@pytest.fixture
def answered(scene):
    voxels = np.random.default_rng(0).integers(-200, 300, SHAPE, dtype=np.int16)
    volume = scene.volume(voxels, affine((0.8, 0.8, 4.0), OBLIQUE, (3, 2, 1)), "Scan ü")
    image = volumes.slice_shown(volume, None)
    mask = np.zeros(image.voxels.shape[1:], bool)
    mask[10:20, 5:30] = True
    node = segments.new_segmentation(scene.mrml, volume, "answer")
    answer = document("Ist da ein Tümör?", ("skin lesion",))
    box = boxes.box_of_slice(mask, image.plane, image.shape)
    added = segments.add_findings(node, image.ijk_to_ras, answer, [box])
    report = reports.add_report(scene.mrml, volume, answer, image.plane)
    reports.link(report, node, added, (boxes.digest(box),))
    return scene, volume, image, mask, report


@pytest.fixture
def volume_report(scene):
    """An answer about a volume, three slices of which have a mask; the middle one's is largest."""
    voxels = np.random.default_rng(0).integers(-200, 300, SHAPE, dtype=np.int16)
    volume = scene.volume(voxels, affine((0.8, 0.8, 4.0)), "Scan")
    mask = np.zeros(SHAPE, bool)
    mask[:3, 10:20, 5:30] = True
    mask[1, 5:30, 5:40] = True
    answer = document(labels=("skin lesion",), volume={"axis": "k", "key_slices": []})
    box = boxes.box_of_volume(mask)
    node = segments.new_segmentation(scene.mrml, volume, "answer")
    added = segments.add_findings(node, volumes.ijk_to_ras_of(volume), answer, [box])
    report = reports.add_report(scene.mrml, volume, answer, None)
    reports.link(report, node, added, (boxes.digest(box),))
    return report


def test_accepting_a_volume_reads_it_once_for_all_its_slices(volume_report, tmp_path, monkeypatch):
    hashed = []

    class Sha256:
        def __init__(self, data=b""):
            self.made = hashlib.sha256(data)

        def update(self, data):
            hashed.append(memoryview(data).nbytes)
            self.made.update(data)

        def hexdigest(self):
            return self.made.hexdigest()

    monkeypatch.setattr(dataset, "hashlib", types.SimpleNamespace(sha256=Sha256))
    dataset.accept_report(volume_report, tmp_path)
    records = read_records(tmp_path / "m3ds", "train")
    assert len(records) == 3 and len({record.group for record in records}) == 1
    assert hashed.count(2 * int(np.prod(SHAPE))) == 1


def test_an_export_makes_one_picture_of_a_volume_that_of_the_largest_mask(
    volume_report, tmp_path, monkeypatch
):
    taken, slice_at = [], volumes.slice_at
    monkeypatch.setattr(
        volumes, "slice_at", lambda node, plane: taken.append(plane.index) or slice_at(node, plane)
    )
    assert (export(volume_report, tmp_path) / "picture.png").is_file()
    assert taken == [1]
    assert (
        outcome.outcomes_of(outcome.reading_of(volume_report))[0].masks["skin lesion"].sum() > 800
    )


def export(report, folder):
    """Without Qt and without a DICOM database."""
    return exporting.export_report(report, folder, None, lambda uid: "").folder


def test_an_accepted_answer_is_a_record_that_training_reads(answered, tmp_path):
    _, _, image, mask, report = answered
    path = dataset.accept_report(report, tmp_path)
    (record,) = read_records(tmp_path / "m3ds", "train")
    assert (record.dataset, record.diagnosis, record.body_part) == ("Slicer", "benign", "skin")
    store = ImageStore(tmp_path / "m3ds", 0.1)
    assert store.image(record).shape == mask.shape
    assert np.array_equal(store.mask(record, "skin lesion") > 0, mask)
    low, high = image.window[0] - image.window[1] / 2, image.window[0] + image.window[1] / 2
    expected = np.clip((image.voxels[0] - low) / (high - low), 0, 1) * 255
    assert np.abs(np.asarray(Image.open(path), float) - expected).max() <= 1
    line = json.loads((tmp_path / "m3ds" / "train.jsonl").read_text(encoding="utf-8"))
    assert line["attributes"]["query"] == "Ist da ein Tümör?"
    assert line["attributes"]["reasoning"].startswith("The mass lies")
    assert "Scan" not in json.dumps(line)


def test_what_the_reader_corrected_is_what_is_written(answered, tmp_path):
    scene, volume, image, mask, report = answered
    dataset.accept_report(report, tmp_path)
    (identity,) = reports.segments_of(report)
    node = report.GetNodeReference(reports.SEGMENTATION_ROLE)
    corrected = np.zeros_like(mask)
    corrected[30:35, 40:45] = True
    node.GetSegmentation().RemoveSegment(identity)
    box = boxes.box_of_slice(corrected, image.plane, image.shape)
    added = segments.add_segment(
        node, "lesion", box, image.ijk_to_ras, {segments.LABEL_TAG: "skin lesion"}
    )
    reports.link(report, node, (added,))
    dataset.accept_report(report, tmp_path)
    (record,) = read_records(tmp_path / "m3ds", "train")
    found = ImageStore(tmp_path / "m3ds", 0.1).mask(record, "skin lesion") > 0
    assert np.array_equal(found, corrected)
    assert scene.mrml.GetNodeByID(volume.GetID()) is volume


def test_a_removed_finding_is_a_record_of_an_image_without_it(answered, tmp_path):
    _, _, _, _, report = answered
    node = report.GetNodeReference(reports.SEGMENTATION_ROLE)
    node.GetSegmentation().RemoveAllSegments()
    dataset.accept_report(report, tmp_path)
    (record,) = read_records(tmp_path / "m3ds", "train")
    assert record.masks == {}


def test_records_of_others_are_left_alone(answered, tmp_path):
    _, _, _, _, report = answered
    dataset.accept_report(report, tmp_path)
    path = tmp_path / "m3ds" / "train.jsonl"
    other = json.loads(path.read_text(encoding="utf-8")) | {"id": "BUSI/1", "dataset": "BUSI"}
    path.write_text(json.dumps(other) + "\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    dataset.accept_report(report, tmp_path / "m3ds")
    first, second = read_records(tmp_path / "m3ds", "train")
    assert (first.id, second.dataset) == ("BUSI/1", "Slicer")
    assert not [file for file in tmp_path.rglob(".*") if file.is_file()]


def test_an_export_holds_report_picture_answer_and_segmentation(answered, tmp_path):
    _, _, _, mask, report = answered
    folder = export(report, tmp_path)
    assert {file.name for file in folder.iterdir()} == {
        "report.md",
        "answer.json",
        "picture.png",
        "segmentation.seg.nrrd",
    }
    assert "Ist da ein Tümör?" in (folder / "report.md").read_text(encoding="utf-8")
    again = export(report, tmp_path)
    assert again != folder and (folder / "report.md").is_file()
    picture = np.asarray(Image.open(folder / "picture.png"))
    factor = picture.shape[0] // mask.shape[0]
    colour = np.abs(picture.astype(int) - picture.mean(-1, keepdims=True)).sum(-1) > 20
    inside = mask.repeat(factor, 0).repeat(factor, 1)
    assert colour[inside].mean() > 0.9
    assert not colour[~inside].any()


def test_an_export_that_fails_leaves_nothing_behind(answered, tmp_path, monkeypatch):
    _, _, _, _, report = answered

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(Sim4SegError, match="No space left"):
        export(report, tmp_path)
    with pytest.raises(Sim4SegError, match="No space left"):
        dataset.accept_report(report, tmp_path / "data")
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_an_answer_without_its_volume_is_refused(answered, tmp_path):
    scene, volume, _, _, report = answered
    scene.mrml.RemoveNode(volume)
    with pytest.raises(Sim4SegError, match="not in the scene any more"):
        outcome.reading_of(report)
