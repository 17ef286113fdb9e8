"""What the command line says with a judge of familiarity, without one, and with a stale one."""

import json
import shutil

import pytest
from PIL import Image
from tiny import compact_model, picture
from tiny_familiarity import judge_for

from Sim4SegCore import cli
from Sim4SegCore.modeling.checkpoint import load_model, save_model
from Sim4SegCore.modeling.familiarity_file import FAMILIARITY_FILE, save_familiarity

QUERY = "Is there a polyp? Segment it."
OUTSIDE = "outside what the model was trained on"


@pytest.fixture(scope="module")
def judging(tmp_path_factory):
    """A checkpoint folder by which every image is outside."""
    folder = tmp_path_factory.mktemp("judging") / "model"
    save_model(compact_model(), folder)
    save_familiarity(judge_for(load_model(folder).lvlm, 0.0), folder)
    return folder


@pytest.fixture
def segment(tmp_path, capsys):
    """`segment(model)`: exit code, what was printed, and result.json if it was written."""
    image = tmp_path / "image.png"
    Image.fromarray(picture(0, 48, 64).permute(1, 2, 0).numpy()).save(image)

    def run(model):
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        code = cli.main(
            ["segment", str(image), QUERY, "--model", str(model), "--device", "cpu", "-o", str(out)]
        )
        written = out / "result.json"
        result = json.loads(written.read_text()) if written.is_file() else None
        return code, capsys.readouterr(), result

    return run


def test_without_the_file_nothing_is_warned_of_and_the_answer_is_the_same(
    judging, segment, tmp_path
):
    silent = tmp_path / "silent"
    shutil.copytree(judging, silent)
    (silent / FAMILIARITY_FILE).unlink()
    _, said, outside = segment(judging)
    code, printed, unknown = segment(silent)
    assert code == 0
    assert OUTSIDE in " ".join(said.out.split()) and outside["familiarity"]["is_outside"]
    assert OUTSIDE not in " ".join(printed.out.split()) and unknown["familiarity"] is None
    assert not any(OUTSIDE in text for text in unknown["report"]["limitations"])
    assert unknown["findings"] == outside["findings"]
    assert unknown["reasoning"] == outside["reasoning"]


def test_a_file_of_other_weights_is_refused_and_how_to_mend_it_is_told(judging, segment, tmp_path):
    other = tmp_path / "other"
    save_model(compact_model(seed=1), other)
    shutil.copy(judging / FAMILIARITY_FILE, other)
    code, printed, result = segment(other)
    assert code == 2 and result is None
    line = printed.err.splitlines()[-1]
    assert "was fitted to other weights; run `python training/run.py familiarity`" in line


def test_a_damaged_file_is_refused_by_name(judging, segment, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(judging, damaged)
    whole = (damaged / FAMILIARITY_FILE).read_bytes()
    (damaged / FAMILIARITY_FILE).write_bytes(whole[: len(whole) // 2])
    code, printed, result = segment(damaged)
    assert code == 2 and result is None
    assert f"{FAMILIARITY_FILE} is damaged; fetch the checkpoint again" in printed.err


def test_a_checkpoint_keeps_its_judge_when_it_is_saved_anew(judging, segment, tmp_path):
    save_model(load_model(judging), tmp_path / "again")
    _, _, first = segment(judging)
    _, _, again = segment(tmp_path / "again")
    assert again["familiarity"] == first["familiarity"]
