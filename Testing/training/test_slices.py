"""Labelled volumes become pictures and masks of the same anatomy, which `prepare` takes."""

import csv

import numpy as np
import pytest
import SimpleITK
from PIL import Image

from training import run
from training.records import read_records

ARGUMENTS = ["--target", "hippocampus", "--modality", "MRI", "--body-part", "brain"]


def write_volume(path, array, spacing=(1.0, 1.0, 1.0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing(spacing)
    SimpleITK.WriteImage(image, str(path))


@pytest.fixture
def volumes(tmp_path):
    """A bright box in noise, 12 x 20 x 30 voxels (k, j, i), and its label."""
    labels = np.zeros((12, 20, 30), np.uint8)
    labels[4:8, 5:15, 10:20] = 1
    labels[6, 5:15, 10:20] = 2
    noise = np.random.default_rng(0).normal(100, 5, labels.shape)
    write_volume(tmp_path / "volumes/images/case1.nii.gz", (noise + 300 * (labels > 0)))
    write_volume(tmp_path / "volumes/labels/case1.nii.gz", labels)
    return tmp_path / "volumes"


def cut(volumes, to, *more):
    arguments = ["slices", str(volumes), "--to", str(to), *ARGUMENTS, "--licence", "mine", *more]
    return run.main(arguments)


def rows_of(folder):
    with (folder / "records.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_mask_covers_what_is_bright_in_its_picture(volumes, tmp_path):
    assert cut(volumes, tmp_path / "cut", "--every", "1") == 0
    rows = rows_of(tmp_path / "cut")
    assert len(rows) == 12 + 20 + 30
    with_mask = [row for row in rows if row["mask"] != "none"]
    assert len(with_mask) == 4 + 10 + 10
    for row in with_mask:
        picture = np.asarray(Image.open(tmp_path / "cut" / row["image"])) > 127
        mask = np.asarray(Image.open(tmp_path / "cut" / row["mask"])) > 127
        assert picture.shape == mask.shape
        assert (picture & mask).sum() > 0.9 * (picture | mask).sum()
    for row in rows:
        if row["mask"] == "none":
            assert np.asarray(Image.open(tmp_path / "cut" / row["image"])).mean() < 100


def test_prepare_takes_the_slices_and_keeps_a_volume_in_one_split(volumes, tmp_path):
    assert cut(volumes, tmp_path / "downloads/Hippocampus", "--every", "2") == 0
    overrides = [f"downloads={tmp_path / 'downloads'}", f"output={tmp_path / 'data'}", "workers=1"]
    sets = "sets={Hippocampus: {kind: csv}}"
    fractions = "fractions={train: 1.0, val: 0.0, test: 0.0}"
    assert run.main(["prepare", *overrides, sets, fractions]) == 0
    records = read_records(tmp_path / "data/m3ds", "train")
    assert len(records) == 6 + 10 + 15
    assert {record.group for record in records} == {"Hippocampus-case1"}
    assert {record.asked for record in records} == {"hippocampus"}
    assert any(record.is_present("hippocampus") for record in records)
    assert not all(record.is_present("hippocampus") for record in records)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: (v / "labels/case1.nii.gz").unlink(), "labels has no case1.nii.gz"),
        (lambda v: (v / "images/case1.nii.gz").unlink(), "no volumes in"),
        (
            lambda v: write_volume(v / "labels/case1.nii.gz", np.eye(20, dtype=np.uint8)[None] * 1),
            "case1.nii.gz",
        ),
        (
            lambda v: write_volume(
                v / "labels/case1.nii.gz",
                np.arange(12 * 20 * 30, dtype=np.uint8).reshape(12, 20, 30),
                (2.0, 1.0, 1.0),
            ),
            "does not lie on",
        ),
    ],
)
def test_what_does_not_fit_is_said_and_nothing_is_written(volumes, tmp_path, capsys, change, said):
    change(volumes)
    assert cut(volumes, tmp_path / "cut") == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "cut").exists()


def test_slices_are_never_overwritten_unasked(volumes, tmp_path, capsys):
    assert cut(volumes, tmp_path / "cut") == 0
    before = len(rows_of(tmp_path / "cut"))
    assert cut(volumes, tmp_path / "cut", "--every", "1") == 2
    assert "in use" in capsys.readouterr().err
    assert len(rows_of(tmp_path / "cut")) == before
    assert cut(volumes, tmp_path / "cut", "--every", "1", "--overwrite") == 0
    assert len(rows_of(tmp_path / "cut")) > before
