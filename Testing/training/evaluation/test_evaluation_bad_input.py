"""Whatever is wrong with input or output ends in one message, and nothing is lost."""

import dataclasses
import errno
import json
import shutil
from pathlib import Path

import pytest

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.modeling.checkpoint import CONFIG_FILE, embedded_folder
from training import run
from training.evaluation import check_records, evaluate, report, summarise, write_evaluation
from training.records import read_records, select_sets


@pytest.fixture
def folder(made_up_data: Path) -> Path:
    return made_up_data / "m3ds"


def test_an_empty_split(folder, monkeypatch, capsys):
    (folder / "val.jsonl").write_text("\n")
    monkeypatch.setenv("SIM4SEG_DATA", str(folder.parent))
    assert run.main(["evaluate"]) == 2
    assert "has no records" in capsys.readouterr().err


def test_a_set_without_records(folder, monkeypatch, capsys):
    monkeypatch.setenv("SIM4SEG_DATA", str(folder.parent))
    assert run.main(["evaluate", "--sets", "PH2", "BUSI"]) == 2
    assert "no records of BUSI; it has HRF, LGG, PH2" in capsys.readouterr().err


def test_sets_are_selected(folder):
    records = read_records(folder, "val")
    assert {record.dataset for record in select_sets(records, ["PH2"])} == {"PH2"}
    assert select_sets(records, None) == records


def test_nothing_to_ask(embedded):
    with pytest.raises(Sim4SegError, match="no record to evaluate"):
        check_records(embedded, [])


def test_a_checkpoint_of_other_diagnoses(embedded, folder):
    records = [dataclasses.replace(r, diagnosis="gout") for r in read_records(folder, "val")]
    with pytest.raises(Sim4SegError, match=r"taught none of .*gout.*another configuration"):
        check_records(embedded, records)


def test_a_checkpoint_of_another_configuration(folder, tmp_path, monkeypatch, capsys):
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(embedded_folder(), checkpoint)
    config = json.loads((checkpoint / CONFIG_FILE).read_text())
    config["segmenter"]["embed_dim"] = 64
    (checkpoint / CONFIG_FILE).write_text(json.dumps(config))
    monkeypatch.setenv("SIM4SEG_DATA", str(folder.parent))
    assert run.main(["evaluate", "--model", str(checkpoint)]) == 2
    message = capsys.readouterr().err.strip()
    assert "the configuration says" in message
    assert "\n" not in message


@pytest.mark.parametrize("damage", ["missing", "text", "size"])
def test_a_bad_mask_is_named(embedded, folder, damage):
    record = read_records(folder, "val")[0]
    path = folder / "masks" / "val0.png"
    if damage == "missing":
        path.unlink()
    elif damage == "text":
        path.write_text("no picture")
    else:
        shutil.copy(folder / "masks" / "val1.png", path)
    message = "is not of its image's size" if damage == "size" else "missing or damaged"
    with pytest.raises(Sim4SegError, match=rf"val0.* {message}|val0 {message}"):
        evaluate(embedded, [record], folder)


def test_a_folder_in_use_is_refused_before_any_work(folder, tmp_path, monkeypatch, capsys):
    place = tmp_path / "used"
    place.mkdir()
    (place / "mine.txt").write_text("mine")
    monkeypatch.setenv("SIM4SEG_DATA", str(folder.parent))
    assert run.main(["evaluate", "--model", "/nowhere", "--to", str(place)]) == 2
    assert "not empty" in capsys.readouterr().err
    assert [path.name for path in place.iterdir()] == ["mine.txt"]


def test_overwriting_keeps_what_is_not_ours(mixed_rows, tmp_path):
    table = summarise(mixed_rows, 0.5)
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "mine.txt").write_text("mine")
    (tmp_path / "e" / "table.md").write_text("old")
    write_evaluation(tmp_path / "e", mixed_rows, table, 0.5, overwrite=True)
    assert (tmp_path / "e" / "mine.txt").read_text() == "mine"
    assert "gIoU" in (tmp_path / "e" / "table.md").read_text()


def test_a_full_disk_loses_nothing(mixed_rows, tmp_path, monkeypatch):
    table = summarise(mixed_rows, 0.5)
    write_evaluation(tmp_path / "e", mixed_rows, table, 0.5)
    before = {path.name: path.read_bytes() for path in (tmp_path / "e").iterdir()}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(report, "save_figure", full)
    with pytest.raises(Sim4SegError, match="no space left on the disk"):
        write_evaluation(tmp_path / "e", mixed_rows[:3], table, 0.9, overwrite=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "e").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["e"]


def test_the_whole_report(embedded, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SIM4SEG_DATA", str(folder.parent))
    assert run.main(["evaluate", "--to", str(tmp_path / "e"), "--device", "cpu"]) == 0
    assert "| macro | 6 |" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "e").iterdir()} == {
        "table.md", "table.csv", "metrics.json", "rows.csv", "worst",
        "overlap.png", "diagnoses.png", "reliability.png", "presence.png",
    }  # fmt: skip
    worst = {path.stem for path in (tmp_path / "e" / "worst").iterdir()}
    assert worst <= {"PH2", "LGG", "HRF"}
    assert "HRF" in worst
