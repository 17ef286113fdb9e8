"""Self-training: what a checkpoint draws where masks are unknown, and how training takes it."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from Sim4SegCore.errors import Sim4SegError
from training import run
from training.config import load_config
from training.drawn_masks import LIST_FILE, DrawnMask
from training.loop import Trainer
from training.mixture import group_records
from training.records import data_folder, read_records, read_training_records


@pytest.fixture
def half_known(made_up_data):
    """The made-up data with the masks of half its skin lesions unknown."""
    path = made_up_data / "m3ds" / "train.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record in [r for r in records if r["dataset"] == "PH2"][::2]:
        record["findings"] = None
    path.write_text("\n".join(json.dumps(record) for record in records) + "\n")
    return made_up_data


@pytest.fixture
def drawn(half_known, tmp_path):
    """A drawn mask for each of the unknown ones: the left half of the image."""
    folder = tmp_path / "drawn"
    (folder / "masks").mkdir(parents=True)
    lines = []
    for record in read_records(half_known / "m3ds", "train"):
        if record.masks is None:
            width, height = Image.open(half_known / "m3ds" / record.image).size
            mask = np.zeros((height, width), np.uint8)
            mask[:, : width // 2] = 255
            Image.fromarray(mask).save(folder / "masks" / f"{record.id}.png")
            lines.append(DrawnMask(record.id, f"masks/{record.id}.png", 0.9).line)
    (folder / LIST_FILE).write_text("".join(lines))
    return folder


def test_drawn_masks_become_the_masks_of_records_that_had_none(half_known, drawn):
    folder = data_folder(str(half_known))
    plain = read_training_records(folder)
    taught = read_training_records(folder, drawn_masks=str(drawn))
    unknown = [record for record in plain if record.masks is None]
    assert unknown
    for before, after in zip(plain, taught, strict=True):
        if before.masks is None:
            assert after.is_drawn
            assert list(after.masks) == ["skin lesion"]
        else:
            assert after == before


def test_drawn_records_are_still_balanced_by_diagnosis(half_known, drawn):
    records = read_training_records(data_folder(str(half_known)), drawn_masks=str(drawn))
    states = {key[2] for key, members in group_records(records) if any(r.is_drawn for r in members)}
    assert states == {record.diagnosis for record in records if record.is_drawn}


def test_training_learns_the_drawn_mask(half_known, drawn, tiny_overrides):
    config = load_config(None, [*tiny_overrides, f"drawn_masks={drawn}"])
    trainer = Trainer(config)
    record = next(r for _, members in trainer.dataset.mixture.groups for r in members if r.is_drawn)
    mask = trainer.dataset.maker.views.store.mask(record, "skin lesion")
    assert mask[:, : mask.shape[1] // 2].all()
    assert not mask[:, mask.shape[1] // 2 :].any()
    assert np.isfinite(trainer.train_step(trainer.dataset[0])["total"])


def test_more_data_is_learned_and_needs_names_of_its_own(made_up_data, tmp_path):
    other = tmp_path / "other" / "m3ds"
    other.mkdir(parents=True)
    first = json.loads((made_up_data / "m3ds/train.jsonl").read_text().splitlines()[0])
    (other / "train.jsonl").write_text(json.dumps(first | {"id": "new"}) + "\n")
    records = read_training_records(made_up_data / "m3ds", [str(tmp_path / "other")])
    assert records[-1].id == "new"
    assert records[-1].image == str(other / first["image"])
    (other / "train.jsonl").write_text(json.dumps(first) + "\n")
    with pytest.raises(Sim4SegError, match="two training records are called"):
        read_training_records(made_up_data / "m3ds", [str(tmp_path / "other")])


@pytest.mark.parametrize("encoder", ["shared", "compact"])
def test_draw_from_the_command_line(half_known, tiny_overrides, tmp_path, capsys, encoder):
    drawing = [
        *tiny_overrides,
        f"model.segmenter.encoder={encoder}",
        "model.segmenter.embed_dim=32",
    ]
    assert run.main(["train", *drawing]) == 0
    assert run.main(["export", "--to", str(tmp_path / "model"), *drawing]) == 0
    draw = ["draw", "--model", str(tmp_path / "model"), "--to", str(tmp_path / "drawn")]
    assert run.main([*draw, "--least", "0", *tiny_overrides]) == 0
    records = {r.id: r for r in read_records(half_known / "m3ds", "train")}
    unknown = sum(record.masks is None for record in records.values())
    assert f"of {unknown} images" in capsys.readouterr().out
    for line in (tmp_path / "drawn" / LIST_FILE).read_text().splitlines():
        listed = json.loads(line)
        size = Image.open(half_known / "m3ds" / records[listed["id"]].image).size
        assert Image.open(tmp_path / "drawn" / listed["mask"]).size == size
        assert 0 <= listed["expected_dice"] <= 1
    assert run.main([*draw, "--least", "1", "--overwrite", *tiny_overrides]) == 0
    assert (tmp_path / "drawn" / LIST_FILE).read_text() == ""
    assert run.main([*draw, *tiny_overrides]) == 2
    assert "in use" in capsys.readouterr().err


def test_what_is_no_list_of_masks_is_refused(made_up_data, tmp_path):
    folder = made_up_data / "m3ds"
    with pytest.raises(Sim4SegError, match=r"no drawn\.jsonl"):
        read_training_records(folder, drawn_masks=str(tmp_path))
    (tmp_path / LIST_FILE).write_text('{"id": "a"}\n')
    with pytest.raises(Sim4SegError, match=r"drawn\.jsonl:1"):
        read_training_records(folder, drawn_masks=str(tmp_path))


def test_nothing_to_draw_is_said(made_up_data, tiny_overrides, tmp_path, capsys):
    assert run.main(["draw", "--to", str(tmp_path / "drawn"), *tiny_overrides]) == 2
    assert "nothing to draw" in capsys.readouterr().err


def test_a_record_keeps_its_own_mask(half_known, drawn):
    folder = data_folder(str(half_known))
    known = next(r for r in read_records(folder, "train") if r.masks)
    with (drawn / LIST_FILE).open("a") as lines:
        lines.write(DrawnMask(known.id, "masks/none.png", 1.0).line)
    again = next(r for r in read_training_records(folder, (), str(drawn)) if r.id == known.id)
    assert again == dataclasses.replace(known, is_drawn=False)
