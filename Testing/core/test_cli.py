"""The command line as a user meets it: what is written, printed, refused."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file
from safetensors.torch import load_file, save_file
from tiny import compact_model

from Sim4SegCore import Sim4Seg, Sim4SegError, cli
from Sim4SegCore.examples import dice, draw_phantom
from Sim4SegCore.modeling.checkpoint import save_model
from Sim4SegCore.progress import Step
from Sim4SegCore.report.wording import RESEARCH_NOTICE

QUERY = "Is there a skin lesion? Segment it and tell me what it is."
WRITTEN = {
    "mask.png",
    "overlay.png",
    "similarity.png",
    "explanation.png",
    "report.md",
    "result.json",
}
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def phantom(tmp_path):
    image, _ = draw_phantom()
    path = tmp_path / "phantom.png"
    Image.fromarray(image).save(path)
    return path


def refuse(capsys, *arguments):
    """Run, expect exit code 2 and one line on stderr; return the line."""
    assert cli.main([str(argument) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = [line for line in printed.err.splitlines() if not line.endswith("the model")]
    assert len(lines) == 1
    assert "Traceback" not in lines[0]
    return lines[0]


def test_phantom_gives_mask_pictures_json_and_readable_text(phantom, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main(["segment", str(phantom), QUERY, "-o", str(out)]) == 0
    assert {p.name for p in out.iterdir()} == WRITTEN
    mask = np.asarray(Image.open(out / "mask.png")) > 0
    assert dice(mask, draw_phantom()[1]) > 0.85
    result = json.loads((out / "result.json").read_text())
    assert result["findings"][0]["label"] == "skin lesion"
    assert result["findings"][0]["present"]
    assert result["findings"][0]["measurements"]["area_px"] == mask.sum()
    assert result["model"]["sha256"]
    text = capsys.readouterr().out
    assert text.startswith("Diagnosis")
    assert result["diagnosis"]["label"] in text
    assert "dermoscopy" in text
    assert " ".join(text.split()).count(RESEARCH_NOTICE) == 1
    assert len(text.splitlines()) < 20


def test_json_is_the_same_as_the_file(phantom, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main(["segment", str(phantom), QUERY, "-o", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((out / "result.json").read_text())


def test_nifti_gives_a_mask_in_its_own_geometry(tmp_path):
    image = sitk.GetImageFromArray(draw_phantom()[0][None, ..., 1].astype(np.int16))
    image.SetSpacing((0.2, 0.3, 4.0))
    image.SetOrigin((11.0, -5.0, 7.0))
    sitk.WriteImage(image, str(tmp_path / "lesion.nii.gz"))
    out = tmp_path / "out"
    assert cli.main(["segment", str(tmp_path / "lesion.nii.gz"), QUERY, "-o", str(out)]) == 0
    mask = sitk.ReadImage(str(out / "mask.nii.gz"))
    assert mask.GetSize() == image.GetSize()
    assert mask.GetSpacing() == pytest.approx(image.GetSpacing())
    assert mask.GetOrigin() == pytest.approx(image.GetOrigin())


def test_dicom_file_is_answered(tmp_path):
    out = tmp_path / "out"
    source = get_testdata_file("MR_small.dcm")
    assert cli.main(["segment", str(source), "Is there a tumor?", "-o", str(out)]) == 0
    assert json.loads((out / "result.json").read_text())["input"]["modality"] == "MR"
    assert (out / "mask.nii.gz").is_file()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.png", b"", "empty"),
        ("text.png", b"not a picture", "picture|image|damaged"),
        ("cut.png", None, "truncated|damaged|complete"),
    ],
)
def test_files_that_are_no_image_are_refused(name, content, message, phantom, tmp_path, capsys):
    path = tmp_path / name
    path.write_bytes(phantom.read_bytes()[:2000] if content is None else content)
    line = refuse(capsys, "segment", path, QUERY, "-o", tmp_path / "out")
    assert name in line
    assert re.search(message, line)
    assert not (tmp_path / "out").exists()


def test_missing_file_and_folder_without_dicom(tmp_path, capsys):
    assert "nothing.png" in refuse(
        capsys, "segment", tmp_path / "nothing.png", QUERY, "-o", tmp_path / "out"
    )
    (tmp_path / "folder").mkdir()
    assert "DICOM" in refuse(capsys, "segment", tmp_path / "folder", QUERY, "-o", tmp_path / "out")


def test_nan_one_pixel_and_volume_are_refused(tmp_path, capsys):
    with_nan = np.full((1, 20, 20), 5, np.float32)
    with_nan[0, 3, 3] = np.nan
    sitk.WriteImage(sitk.GetImageFromArray(with_nan), str(tmp_path / "nan.nrrd"))
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((5, 9, 9), np.int16)), str(tmp_path / "v.nrrd"))
    Image.fromarray(np.zeros((1, 1), np.uint8)).save(tmp_path / "one.png")
    out = tmp_path / "out"
    assert "NaN" in refuse(capsys, "segment", tmp_path / "nan.nrrd", QUERY, "-o", out)
    assert "--slice" in refuse(capsys, "segment", tmp_path / "v.nrrd", QUERY, "-o", out)
    assert "pixel" in refuse(capsys, "segment", tmp_path / "one.png", QUERY, "-o", out)
    assert not out.exists()


def refuse_volume(capsys, scan, out):
    line = refuse(capsys, "segment", scan, QUERY, "-o", out, "--mode", "slices")
    assert scan.name in line
    assert not out.exists()
    return line


def test_a_coloured_and_a_cut_volume_are_refused(tmp_path, capsys):
    colours = np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3), dtype=np.uint8)
    scan = tmp_path / "colours.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(colours, isVector=True), str(scan))
    assert "colour volumes are not supported" in refuse_volume(capsys, scan, tmp_path / "out")
    scan = tmp_path / "cut.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(colours[..., 0]), str(scan))
    scan.write_bytes(scan.read_bytes()[:-700])
    assert "less image data" in refuse_volume(capsys, scan, tmp_path / "out")


@pytest.fixture
def series(tmp_path):
    """A DICOM folder of six slices, 5 mm apart."""
    folder = tmp_path / "series"
    folder.mkdir()
    dataset = dcmread(get_testdata_file("CT_small.dcm", download=False))
    for index in range(6):
        dataset.ImagePositionPatient = [0, 0, 5 * index]
        dataset.save_as(folder / f"{index}.dcm")
    return folder


def test_a_series_with_missing_slices_is_refused(series, tmp_path, capsys):
    (series / "2.dcm").unlink()
    line = refuse_volume(capsys, series, tmp_path / "out")
    assert "about 1 of its slices are missing" in line


def test_a_series_without_spacing_is_refused(series, tmp_path, capsys):
    for path in series.iterdir():
        dataset = dcmread(path)
        del dataset.PixelSpacing
        dataset.save_as(path)
    assert "no PixelSpacing" in refuse_volume(capsys, series, tmp_path / "out")


@pytest.mark.parametrize("option", [["--series", "0"], ["--axis", ""], ["--keep-partial"]])
def test_options_of_volumes_are_refused_of_an_image(option, phantom, tmp_path, capsys):
    line = refuse(capsys, "segment", phantom, QUERY, "-o", tmp_path / "out", *option)
    assert f"{option[0]} is about volumes; add --mode slices or volume" in line
    assert not (tmp_path / "out").exists()


def test_progress_of_a_volume_says_percent_and_seconds_left(tmp_path, monkeypatch, capsys):
    voxels = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(tmp_path / "a.nrrd"))
    clock = SimpleNamespace(now=100.0, monotonic=lambda: clock.now)
    # Seconds on the clock and the share done; reports come at most every five seconds.
    steps = [(106, 0.0), (107, 0.1), (108, 0.2), (111.9, 0.2), (112, 0.25), (160, 1.0)]

    class Predictor:
        progress = None

        def segment_volume(self, case, query, options):
            for clock.now, fraction in steps:
                self.progress(Step("mask", fraction))
            raise Sim4SegError("seen enough")

    monkeypatch.setattr("Sim4SegCore.commands.volumes.time", clock)
    monkeypatch.setattr(Sim4Seg, "from_pretrained", lambda *_, **__: Predictor())
    arguments = ["segment", str(tmp_path / "a.nrrd"), QUERY, "--mode", "slices"]
    assert cli.main([*arguments, "-o", str(tmp_path / "out")]) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if "done" in line]
    assert said == [
        "sim4seg: 10% done, about 63 s left",
        "sim4seg: 25% done, about 36 s left",
        "sim4seg: 100% done, about 0 s left",
    ]


@pytest.mark.parametrize(
    ("query", "message"),
    [("", "empty"), ("  ", "empty"), ("x" * 10_000, "10000 characters"), ("ab\udcff", "UTF-8")],
)
def test_unusable_queries_are_refused(query, message, phantom, tmp_path, capsys):
    assert message in refuse(capsys, "segment", phantom, query, "-o", tmp_path / "out")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--samples", 0, "samples is 0; give a whole number from 1 to 64"),
        ("--samples", 1000, "samples is 1000"),
        ("--masks", 0, "masks is 0; give a whole number from 1 to 8"),
        ("--masks", 1000, "masks is 1000"),
    ],
)
def test_impossible_numbers_of_answers_and_masks(option, value, message, phantom, tmp_path, capsys):
    out = tmp_path / "out"
    assert message in refuse(capsys, "segment", phantom, QUERY, "-o", out, option, value)
    assert not out.exists()


@pytest.mark.parametrize(
    ("option", "value"), [("--seed", "x"), ("--seed", "1.5"), ("--samples", "many")]
)
def test_what_should_be_a_number_is_refused_in_one_line(option, value, phantom, tmp_path, capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main(["segment", str(phantom), QUERY, "-o", str(tmp_path / "out"), option, value])
    assert exit.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"argument {option}: '{value}' is no whole number" in line


def test_an_unknown_choice_of_the_mask_names_those_there_are(phantom, tmp_path, capsys):
    out = tmp_path / "out"
    line = refuse(capsys, "segment", phantom, QUERY, "-o", out, "--choice", "best")
    assert line.endswith("give one of consensus, estimated IoU, agreement, text")


def test_more_answers_and_masks_are_kept_in_the_result(phantom, tmp_path):
    out = tmp_path / "out"
    options = ["--samples", "3", "--masks", "4", "--seed", "1", "--choice", "agreement"]
    assert cli.main(["segment", str(phantom), QUERY, "-o", str(out), *options]) == 0
    samples = json.loads((out / "result.json").read_text())["samples"]
    assert 2 <= len(samples["answers"]) <= 3
    assert [mask["name"] for mask in samples["masks"]][:2] == ["as it is", "mirrored"]


def test_an_uncertain_diagnosis_names_its_rival():
    from Sim4SegCore import Case, Diagnosis, ModelIdentity, Query, Result

    shares = (("benign", 0.41), ("normal", 0.11))
    result = Result(
        case=Case(np.zeros((4, 4), np.uint8)),
        query=Query("?"),
        diagnosis=Diagnosis("malignant", 0.48, shares, uncertain=True),
        reasoning="",
        findings=(),
        similarity=np.zeros((4, 4), np.float32),
        model=ModelIdentity("", "", ""),
    )
    assert "uncertain: malignant (48 %) or benign (41 %)" in cli.describe(result)


def test_bytes_that_are_no_utf8_are_refused_in_a_real_process(phantom, tmp_path):
    command = [sys.executable, "-m", "Sim4SegCore.cli", "segment", str(phantom), b"\xff\xfe"]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "out")], capture_output=True, cwd=ROOT, check=False
    )
    assert done.returncode == 2
    assert b"UTF-8" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("query", ["Où est la lésion ?", "病变在哪里？", "🙂 {query} {} %s"])
def test_queries_in_any_language_are_answered(query, phantom, tmp_path):
    assert cli.main(["segment", str(phantom), query, "-o", str(tmp_path / "out")]) == 0
    assert json.loads((tmp_path / "out" / "result.json").read_text())["query"] == query


def test_unknown_model_and_device_are_refused(phantom, tmp_path, capsys):
    out = tmp_path / "out"
    missing = tmp_path / "no-model"
    assert "no-model" in refuse(capsys, "segment", phantom, QUERY, "-o", out, "--model", missing)
    assert "device" in refuse(capsys, "segment", phantom, QUERY, "-o", out, "--device", "tpu")
    assert "cuda:99" in refuse(capsys, "segment", phantom, QUERY, "-o", out, "--device", "cuda:99")
    assert not out.exists()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    save_model(compact_model(), folder)
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: None, "lacks the tensor rvls2m.scale; the checkpoint is incomplete"),
        (lambda scale: scale.reshape(1, 1, 1), "tensor rvls2m.scale is (1, 1, 1)"),
    ],
)
def test_a_checkpoint_with_a_missing_or_misshaped_tensor_is_refused(
    change, message, checkpoint, phantom, tmp_path, capsys
):
    folder = Path(shutil.copytree(checkpoint, tmp_path / "model"))
    weights = load_file(folder / "model.safetensors")
    weights["rvls2m.scale"] = change(weights["rvls2m.scale"])
    kept = {name: tensor for name, tensor in weights.items() if tensor is not None}
    save_file(kept, folder / "model.safetensors")
    out = tmp_path / "out"
    line = refuse(capsys, "segment", phantom, QUERY, "-o", out, "--model", folder)
    assert message in line
    assert not out.exists()


def test_an_output_folder_in_use_needs_overwrite(phantom, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    assert "--overwrite" in refuse(capsys, "segment", phantom, QUERY, "-o", out)
    assert cli.main(["segment", str(phantom), QUERY, "-o", str(out), "--overwrite"]) == 0
    assert (out / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("delay", [0.3, 2.5, 4.5])
def test_ctrl_c_leaves_nothing_half_written(delay, phantom, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "Sim4SegCore.cli", "segment", str(phantom), QUERY]
    process = subprocess.Popen(
        [*command, "-o", str(out)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    time.sleep(delay)
    if process.poll() is None:
        os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    left = sorted(p.name for p in tmp_path.iterdir() if p.name != "phantom.png")
    assert left == [] or (left == ["out"] and {p.name for p in out.iterdir()} == WRITTEN)
    if process.returncode != 0 and b"sim4seg:" in said:
        # Before its first word, an extension module may turn the interruption into ImportError.
        assert process.returncode in (130, -signal.SIGINT)


def test_ctrl_c_that_a_library_wrapped_is_still_ctrl_c(phantom, tmp_path, monkeypatch, capsys):
    def interrupted(image: Path, slice_index: int | None) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise SystemError("initialization raised unreported exception") from error

    monkeypatch.setattr("Sim4SegCore.io.read_case", interrupted)
    assert cli.main(["segment", str(phantom), QUERY, "-o", str(tmp_path / "out")]) == 130
    assert capsys.readouterr().err.strip() == "sim4seg: interrupted"
