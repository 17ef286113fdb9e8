"""Cohorts of volumes, and several answers and masks of images."""

import json

import numpy as np
import pytest
import SimpleITK
from batch_helpers import draw, draw_volume, read_table, write_dicom
from PIL import Image
from pydicom.uid import generate_uid

from Sim4SegCore import cli
from Sim4SegCore.batch.asking import ALL_MODES
from Sim4SegCore.batch.thumbnail import SIDE
from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.service.modes import MODES

QUERY = "Is there a tumor?"
SLICES = ("--query", QUERY, "--mode", "slices")


@pytest.fixture
def scans(tmp_path):
    """Two volumes and a picture."""
    folder = tmp_path / "scans"
    for seed, name in enumerate(["a.nii.gz", "sub/b.nrrd"]):
        draw_volume(folder / name, seed)
    draw(folder / "c.png", 3)
    return folder


def read_mask(folder, name):
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / name))) > 0


def test_volumes_get_the_files_of_segment_and_their_columns(scans, batch, tmp_path):
    code, predictor = batch(scans, *SLICES)
    assert code == 3 and predictor.encoded == []
    first, picture, second = read_table(tmp_path / "out")
    assert (picture["id"], picture["status"], picture["mode"]) == ("c.png", "failed", "")
    assert "it is no volume" in picture["reason"]
    for row, mask_name in ((first, "mask.nii.gz"), (second, "mask.nrrd")):
        folder = tmp_path / "out" / row["folder"]
        names = {path.name for path in folder.iterdir()}
        assert names == {mask_name, "overlay.png", "result.json", "thumbnail.png"}
        mask = read_mask(folder, mask_name)
        assert float(row["volume_ml"]) == pytest.approx(mask.sum() * 1.0 * 1.5 * 4.0 / 1000)
        assert float(row["image_fraction"]) == pytest.approx(mask.mean(), rel=1e-4)
        marked = np.nonzero(mask.any((1, 2)))[0]
        assert (row["slice_axis"], row["mode"]) == ("k", "slices")
        assert [int(row["first_slice"]), int(row["last_slice"])] == [marked[0], marked[-1]]
        assert (row["area_px"], row["area_mm2"]) == ("", "")
        assert row["diagnosis"] == "glioma" and row["present"] == "true"
        assert json.loads((folder / "result.json").read_text())["volume"]["mode"] == "slices"


def test_the_rows_of_images_keep_their_columns_in_front(cohort, batch, tmp_path):
    batch(cohort, "--query", QUERY)
    row = read_table(tmp_path / "out")[0]
    assert list(row).index("folder") < list(row).index("mode")
    assert (row["mode"], row["volume_ml"], row["first_slice"]) == ("slice", "", "")


def test_a_volume_is_shown_by_its_key_slice(batch, tmp_path):
    voxels = np.zeros((5, 30, 20), np.int16)
    voxels[3, :15] = 100
    draw_volume(tmp_path / "scans/a.nii.gz", 0, voxels)
    assert batch(tmp_path / "scans", *SLICES)[0] == 0
    (row,) = read_table(tmp_path / "out")
    thumbnail = Image.open(tmp_path / "out" / row["folder"] / "thumbnail.png")
    # 30 rows of 1.5 mm and 20 columns of 1 mm, of which the upper half is bright.
    assert thumbnail.size == (round(SIDE * 20 / 45), SIDE)
    grey = np.asarray(thumbnail.convert("L")).astype(int)
    assert grey[SIDE // 4].mean() > 150 and grey[-SIDE // 4].mean() < 50
    assert (tmp_path / "out/contact_sheet_001.png").is_file()


def test_dicom_series_are_volumes_whatever_lies_beside_them(batch, tmp_path):
    first, second = generate_uid(), generate_uid()
    for place in range(4):
        write_dicom(tmp_path / f"flat/a{place}", first, place)
        write_dicom(tmp_path / f"flat/more/{place // 2}/b{place}", second, 10 - 2 * place)
    code, _ = batch(tmp_path / "flat", *SLICES)
    assert code == 0
    rows = {row["image"]: row for row in read_table(tmp_path / "out")}
    assert set(rows) == {".", "more"}
    for image, distance in ((".", 1.0), ("more", 2.0)):
        folder = tmp_path / "out" / rows[image]["folder"]
        mask = SimpleITK.ReadImage(str(folder / "mask.nii.gz"))
        assert mask.GetSize() == (16, 16, 4)
        assert mask.GetSpacing() == pytest.approx((1.0, 1.0, distance))
        described = json.loads((folder / "result.json").read_text())["input"]
        assert described["file"] == ("flat" if image == "." else "more")
    (tmp_path / "flat/a1").unlink()
    batch(tmp_path / "flat", *SLICES)
    reason = next(row["reason"] for row in read_table(tmp_path / "out") if row["reason"])
    assert reason.startswith('cannot read "flat": its slices are unevenly spaced')


def test_another_mode_or_number_of_masks_is_asked_anew(scans, batch):
    (scans / "c.png").unlink()
    assert len(batch(scans, *SLICES)[1].asked) == 2
    assert batch(scans, *SLICES)[1].asked == []
    assert len(batch(scans, "--query", QUERY, "--mode", "volume")[1].asked) == 2
    one = ("--query", QUERY, "--slice", "1")
    assert len(batch(scans, *one)[1].asked) == 2
    assert batch(scans, *one, "--mode", "slice")[1].asked == []
    assert len(batch(scans, *one, "--masks", "3")[1].asked) == 2


def test_parts_that_were_asked_otherwise_are_not_merged(scans, batch):
    for index, mode in enumerate(["slices", "volume"]):
        part = ("--part-id", index, "--num-parts", 2)
        batch(scans, "--query", QUERY, "--mode", mode, *part)
    with pytest.raises(Sim4SegError, match="not of the same"):
        batch("--merge")


def test_merged_parts_of_volumes_equal_the_whole(scans, batch, tmp_path):
    batch(scans, *SLICES, out=tmp_path / "whole")
    for index in range(2):
        batch(scans, *SLICES, "--part-id", index, "--num-parts", 2)
    assert batch("--merge")[0] == 3
    for name in ("results.csv", "contact_sheet_001.png"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_answers_and_masks_are_asked_on_top_of_what_the_model_does(cohort, batch, tmp_path):
    def answers(*more):
        batch(cohort, "--query", QUERY, *more)
        folder = tmp_path / "out" / read_table(tmp_path / "out")[0]["folder"]
        answers = json.loads((folder / "result.json").read_text())["samples"]["answers"]
        return [answer["reasoning"] for answer in answers]

    assert answers() == ["masks 2, seed 0"]
    assert answers("--samples", "3") == ["masks 2, seed 0"] * 3
    assert answers("--masks", "4", "--seed", "7") == ["masks 4, seed 7"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mode", "image"], "unknown mode 'image'; use slice, slices, volume"),
        (["--mode", "slices", "--slice", "3"], "leave --slice out"),
        (["--mode", "volume", "--samples", "3"], "--samples is about single images"),
        (["--mode", "slices", "--seed", "0"], "--seed is about single images"),
        (["--samples", "0"], "samples is 0; give a whole number from 1 to 64"),
        (["--masks", "9"], "masks is 9"),
        (["--masks", "two"], "'two'"),
        (["--merge", "--mode", "slice"], "nothing else"),
    ],
)
def test_what_does_not_go_together_is_refused_before_the_model_is_loaded(
    arguments, message, cohort, tmp_path, capsys
):
    command = ["batch", str(cohort), "--query", QUERY, *arguments, "-o", str(tmp_path / "out")]
    try:
        assert cli.main(command) == 2
    except SystemExit as end:
        assert end.code == 2
    printed = capsys.readouterr()
    assert message in printed.err and len(printed.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_table_does_not_name_slices_of_whole_volumes(scans, batch, tmp_path):
    table = tmp_path / "studies.csv"
    table.write_text("image,slice\nscans/a.nii.gz,\nscans/sub/b.nrrd,2\n")
    with pytest.raises(Sim4SegError, match="column 'slice'"):
        batch(table, *SLICES)
    table.write_text("image,slice\nscans/a.nii.gz,\nscans/sub/b.nrrd,\n")
    assert batch(table, *SLICES)[0] == 0


def test_modes_have_the_names_that_the_service_gives_them():
    assert ALL_MODES == MODES
