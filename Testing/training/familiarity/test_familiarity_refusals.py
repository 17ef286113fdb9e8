"""What a user did wrong is one sentence, and what was there before stays."""

import dataclasses
import sys

import pytest

from Sim4SegCore.modeling.familiarity_file import FAMILIARITY_FILE, save_familiarity
from training.config import TrainingConfig
from training.loop import split_calibration
from training.records import read_records


def refusal(outcome):
    code, printed = outcome
    assert code == 2 and printed.out == ""
    (line,) = printed.err.splitlines()
    return line


def test_without_held_out_patients_there_is_no_limit(command, checkpoint, made_up_data, judge):
    save_familiarity(judge, checkpoint)
    before = (checkpoint / FAMILIARITY_FILE).read_bytes()
    path = made_up_data / "m3ds" / "train.jsonl"
    records = read_records(made_up_data / "m3ds", "train")
    trained, _ = split_calibration(records, TrainingConfig().calibration_fraction)
    kept = {record.id for record in trained}
    lines = zip(records, path.read_text().splitlines(), strict=True)
    path.write_text("\n".join(line for record, line in lines if record.id in kept))
    assert "no training images are held out" in refusal(command("familiarity"))
    assert (checkpoint / FAMILIARITY_FILE).read_bytes() == before


@pytest.mark.parametrize("name", ["familiarity", "outside"])
def test_images_that_are_not_there_are_named(command, checkpoint, judge, tmp_path, name):
    save_familiarity(judge, checkpoint)
    option = {"familiarity": "--exposed", "outside": "--images"}[name]
    line = refusal(command(name, option, tmp_path / "missing"))
    assert "there is no folder or file" in line and "missing" in line


def test_a_damaged_image_is_named(command, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert "broken.png" in refusal(command("familiarity", "--exposed", tmp_path / "broken.png"))


def test_a_missing_training_image_is_named(command, checkpoint, made_up_data):
    (made_up_data / "m3ds" / "images" / "train0.png").unlink()
    assert "train0.png is missing or damaged" in refusal(command("familiarity"))
    assert not (checkpoint / FAMILIARITY_FILE).exists()


def test_without_the_file_there_is_nothing_to_measure(command):
    line = refusal(command("outside"))
    assert "no familiarity.safetensors; run `run.py familiarity` first" in line


def test_a_file_of_other_weights_is_not_measured(command, checkpoint, judge):
    save_familiarity(dataclasses.replace(judge, fitted_to="others"), checkpoint)
    assert "was fitted to other weights" in refusal(command("outside"))


def test_an_unknown_split_is_refused(command, checkpoint, judge):
    save_familiarity(judge, checkpoint)
    assert "no test.jsonl" in refusal(command("outside", "--split", "test"))


@pytest.mark.parametrize("name", ["familiarity", "outside"])
def test_without_scikit_image_it_says_what_to_install(
    command, checkpoint, judge, monkeypatch, name
):
    save_familiarity(judge, checkpoint)
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    assert "pip install 'sim4seg[demo]'" in refusal(command(name))
