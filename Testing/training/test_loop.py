"""Training on made-up data: continued runs, refusals, export and evaluation."""

import dataclasses
import json
import math

import pytest
import torch

from Sim4SegCore import Sim4Seg
from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.modeling.checkpoint import load_model, save_model
from Sim4SegCore.scaling_config import Calibration
from training import run
from training.config import load_config
from training.evaluation import (
    Row,
    auroc,
    mean_over_sets,
    presence_rule,
    presence_threshold,
    summarise,
)
from training.loop import Trainer
from training.soup import average_segmenters
from training.state import STATE_FILE, read


def train(overrides, **changes):
    extra = [f"{key}={value}" for key, value in changes.items()]
    trainer = Trainer(load_config(None, overrides + extra))
    trainer.run()
    return trainer


def test_a_continued_run_ends_like_an_uninterrupted_one(tiny_overrides, tmp_path):
    whole = train(tiny_overrides, output=tmp_path / "whole")
    interrupted = Trainer(load_config(None, [*tiny_overrides, f"output={tmp_path / 'cut'}"]))
    for step in range(2):
        interrupted.train_step(interrupted.dataset[step])
    interrupted.save()
    interrupted.train_step(interrupted.dataset[2])
    continued = train(tiny_overrides, output=tmp_path / "cut")
    assert continued.step == whole.step == 4
    assert continued.average.values.keys() == whole.average.values.keys()
    for name, value in continued.average.values.items():
        assert torch.equal(value, whole.average.values[name])
    assert continued.history.rows == whole.history.rows[2:]


def test_another_configuration_does_not_continue_a_run(tiny_overrides):
    train(tiny_overrides)
    with pytest.raises(Sim4SegError, match="another configuration"):
        Trainer(load_config(None, [*tiny_overrides, "seed=5"]))


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_state(tiny_overrides, tmp_path):
    trainer = train(tiny_overrides)
    saved = (tmp_path / "run" / STATE_FILE).read_bytes()
    with torch.no_grad():
        trainer.model.rvls2m.scale.fill_(float("nan"))
    with pytest.raises(Sim4SegError, match="not finite"):
        trainer.train_step(trainer.dataset[0])
    assert (tmp_path / "run" / STATE_FILE).read_bytes() == saved


def test_training_lowers_the_loss(tiny_overrides):
    trainer = Trainer(load_config(None, [*tiny_overrides, "steps=60", "optimizer.warmup_steps=5"]))
    batch = trainer.dataset[0]
    losses = [trainer.train_step(batch)["total"] for _ in range(40)]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


def test_the_segmenter_is_trained_beside_an_lvlm_that_stays(tiny_overrides, tmp_path):
    wide = [*tiny_overrides, "model.segmenter.embed_dim=32"]
    first = Trainer(load_config(None, wide))
    save_model(first.model, tmp_path / "first")
    own = [
        f"initial={tmp_path / 'first'}",
        f"output={tmp_path / 'second'}",
        "trained_parts=[segmenter]",
        "model.segmenter.encoder=compact",
        "model.segmenter.compact_channels=[16, 16, 16, 16]",
    ]
    trainer = Trainer(load_config(None, [*wide, *own]))
    before = {n: p.clone() for n, p in trainer.model.named_parameters()}
    trainer.run()
    changed = {n for n, p in trainer.model.named_parameters() if not torch.equal(p, before[n])}
    assert any(name.startswith("segmenter.image_encoder.stages.") for name in changed)
    assert all(name.startswith("segmenter.") for name in changed)
    kept = dict(first.model.named_parameters())
    for name, parameter in trainer.model.named_parameters():
        if not name.startswith("segmenter."):
            torch.testing.assert_close(parameter, kept[name], atol=1e-2, rtol=1e-3)


def test_a_part_of_a_checkpoint_can_be_taken_alone(tiny_overrides, tmp_path):
    first = Trainer(load_config(None, [*tiny_overrides, "seed=3"]))
    save_model(first.model, tmp_path / "first")
    own = [*tiny_overrides, f"initial={tmp_path / 'first'}", "initial_parts=[segmenter]"]
    kept, fresh = dict(first.model.named_parameters()), Trainer(load_config(None, tiny_overrides))
    expected = dict(fresh.model.named_parameters())
    for name, parameter in Trainer(load_config(None, own)).model.named_parameters():
        source = kept if name.startswith("segmenter.") else expected
        torch.testing.assert_close(parameter, source[name], atol=1e-3, rtol=1e-3)
    with pytest.raises(Sim4SegError, match="initial_parts names decoder"):
        Trainer(load_config(None, [*own, "initial_parts=[decoder]"]))


def test_a_part_that_does_not_exist_cannot_be_trained(tiny_overrides):
    with pytest.raises(Sim4SegError, match="trained_parts names decoder"):
        Trainer(load_config(None, [*tiny_overrides, "trained_parts=[decoder]"]))


def test_batches_are_the_same_whoever_makes_them(tiny_overrides):
    trainer = Trainer(load_config(None, tiny_overrides))
    [first], [again] = trainer.dataset[3], trainer.dataset[3]
    for item in dataclasses.fields(first):
        ours, theirs = getattr(first, item.name), getattr(again, item.name)
        if isinstance(ours, torch.Tensor):
            assert torch.equal(ours, theirs)


def test_some_samples_are_drawn_without_the_prompt(tiny_overrides):
    more = ["sampling.promptless=0.5", "batch_size=30"]
    dataset = Trainer(load_config(None, tiny_overrides + more)).dataset
    prompted = torch.cat([batch.prompted for step in range(4) for batch in dataset[step]])
    assert set(prompted.tolist()) == {0.0, 1.0}
    assert 0.3 < prompted.mean() < 0.7
    again = torch.cat([batch.prompted for step in range(4) for batch in dataset[step]])
    assert torch.equal(prompted, again)


def test_stages_change_what_is_drawn(tiny_overrides):
    stages = "sampling.stages=[{until: 3, set_weights: {PH2: 0.0, LGG: 0.0}}]"
    mixture = Trainer(load_config(None, [*tiny_overrides, stages])).dataset.mixture
    names = [key[0] for key, _ in mixture.groups]
    early = {name for name, weight in zip(names, mixture.weights(2), strict=True) if weight}
    late = {name for name, weight in zip(names, mixture.weights(3), strict=True) if weight}
    assert early == {"HRF"}
    assert late == {"HRF", "PH2", "LGG"}


def test_the_most_specific_weight_of_a_group_counts(tiny_overrides):
    weights = (
        "sampling.set_weights={LGG: 2.0, LGG/tumor/absent: 5.0, HRF: 3.0, HRF/retinal vessels: 6.0}"
    )
    mixture = Trainer(load_config(None, [*tiny_overrides, weights])).dataset.mixture
    plain = Trainer(load_config(None, tiny_overrides)).dataset.mixture
    factors = {
        key: weighted / unweighted
        for (key, _), weighted, unweighted in zip(
            mixture.groups, mixture.weights(0), plain.weights(0), strict=True
        )
    }
    assert factors == {
        ("PH2", "skin lesion", "present"): 1.0,
        ("LGG", "tumor", "present"): 2.0,
        ("LGG", "tumor", "absent"): 5.0,
        ("HRF", "retinal vessels", "present"): 6.0,
    }


def test_new_words_get_tokens_and_leave_the_others_as_they_are(tiny_overrides, tmp_path):
    first = Trainer(load_config(None, tiny_overrides)).model.lvlm
    save_model(Trainer(load_config(None, tiny_overrides)).model, tmp_path / "first")
    more = [f"initial={tmp_path / 'first'}", f"output={tmp_path / 'second'}"]
    second = Trainer(load_config(None, [*tiny_overrides, *more, "new_words=[hypophysis]"])).model
    lvlm, sentence = second.lvlm, "Where is the hypophysis?"
    pieces = first.tokenizer.tokenize(" hypophysis")
    assert len(pieces) > 1 and len(lvlm.tokenizer.tokenize(" hypophysis")) == 1
    assert lvlm.tokenizer.decode(lvlm.encode(sentence)) == sentence
    for text in ("Segment the skin lesion.", "no tumor is visible", "a hyphenated sentence"):
        assert lvlm.encode(text) == first.encode(text)
    old = load_model(tmp_path / "first").lvlm.network.get_input_embeddings().weight
    new = lvlm.network.get_input_embeddings().weight
    assert torch.equal(new[: len(old)], old)
    parts = old[first.tokenizer.convert_tokens_to_ids(pieces)]
    torch.testing.assert_close(new[lvlm.encode(" hypophysis")[0]], parts.mean(0))
    save_model(second, tmp_path / "third")
    assert load_model(tmp_path / "third").lvlm.encode(sentence) == lvlm.encode(sentence)


def test_train_export_evaluate_from_the_command_line(
    tiny_overrides, made_up_data, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("SIM4SEG_DATA", str(made_up_data))
    overrides = [*tiny_overrides, "calibration_fraction=0.3"]
    assert run.main(["train", *overrides]) == 0
    checkpoint = tmp_path / "checkpoint"
    assert run.main(["export", "--to", str(checkpoint), *overrides]) == 0
    card = json.loads((checkpoint / "card.json").read_text())
    assert card["steps"] == 4
    assert {entry["set"] for entry in card["data"]} <= {"PH2", "LGG", "HRF"}
    evaluation = ["--model", str(checkpoint), "--to", str(tmp_path / "e"), "--update-card"]
    assert run.main(["evaluate", *evaluation]) == 0
    assert "| PH2 | 2 |" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "e" / "metrics.json").read_text())
    assert metrics["sets"][-1]["questions"] == 6
    card = json.loads((checkpoint / "card.json").read_text())
    assert card["metrics"]["sets"] == metrics["sets"]
    result = Sim4Seg.from_pretrained(checkpoint).segment(
        made_up_data / "m3ds" / "images" / "val0.png", "Is there a skin lesion?"
    )
    assert result.mask.shape == result.case.size
    start = [*overrides, f"initial={checkpoint}", f"output={tmp_path / 'next'}"]
    ours = Trainer(load_config(None, start)).model.state_dict()
    for name, value in load_model(checkpoint).state_dict().items():
        assert torch.equal(ours[name], value)
    with pytest.raises(Sim4SegError, match="other sizes"):
        wider = ["model.segmenter.embed_dim=32", f"output={tmp_path / 'wider'}"]
        Trainer(load_config(None, [*start, *wider]))
    assert run.main(["export", "--to", str(checkpoint), *overrides]) == 2
    assert "exists" in capsys.readouterr().err


def test_segmenters_of_several_runs_are_averaged(
    tiny_overrides, made_up_data, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("SIM4SEG_DATA", str(made_up_data))
    one = [*tiny_overrides, f"output={tmp_path / 'one'}"]
    other = [*tiny_overrides, f"output={tmp_path / 'other'}", "seed=7"]
    for overrides in (one, other):
        assert run.main(["train", *overrides]) == 0
    averages = [read(tmp_path / name / STATE_FILE)["average"] for name in ("one", "other")]
    soup = average_segmenters(averages[0], [tmp_path / "other"])
    for name, value in soup.items():
        both = torch.stack([average[name] for average in averages])
        expected = both.mean(0) if name.startswith("segmenter.") else both[0]
        torch.testing.assert_close(value, expected)
    to, beside = ["--to", str(tmp_path / "soup")], ["--segmenter-of", str(tmp_path / "other")]
    assert run.main(["export", *one, *to, *beside]) == 0
    exported = load_model(tmp_path / "soup").state_dict()
    for name, value in soup.items():
        torch.testing.assert_close(exported[name], value, atol=2e-3, rtol=2e-3)
    card = json.loads((tmp_path / "soup" / "card.json").read_text())
    assert card["segmenter_averaged_with"] == ["python training/run.py train"]
    wider = [*tiny_overrides, f"output={tmp_path / 'wider'}", "model.segmenter.embed_dim=32"]
    assert run.main(["train", *wider]) == 0
    to, beside = ["--to", str(tmp_path / "no")], ["--segmenter-of", str(tmp_path / "wider")]
    assert run.main(["export", *one, *to, *beside]) == 2
    assert "no segmenter like this one" in capsys.readouterr().err


def test_missing_data_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SIM4SEG_DATA", str(tmp_path))
    assert run.main(["evaluate"]) == 2
    assert "SIM4SEG_DATA" in capsys.readouterr().err


def row(present, presence, **changes):
    base = Row(
        id="a",
        dataset="LGG",
        target="tumor",
        present=present,
        iou=0.5 if present else None,
        mask_drawn=True,
        presence=presence,
        diagnosis="no tumor",
        predicted="no tumor",
        confidence=0.9,
        modality_right=True,
    )
    return dataclasses.replace(base, **changes)


def test_presence_gates_masks_in_the_table():
    rows = [row(True, 0.9), row(True, 0.1), row(False, 0.8), row(False, 0.2)]
    metrics = summarise(rows, 0.5)[0]
    assert metrics.giou == pytest.approx(0.25)
    assert metrics.giou_ungated == pytest.approx(0.5)
    assert metrics.false_masks == pytest.approx(0.5)
    assert metrics.presence_auroc == pytest.approx(0.5)


def test_balanced_accuracy_differs_from_accuracy():
    rows = [row(True, 0.9) for _ in range(3)]
    rows.append(row(True, 0.9, diagnosis="lower-grade glioma"))
    metrics = summarise(rows, 0.5)[0]
    assert metrics.accuracy == metrics.majority == pytest.approx(0.75)
    assert metrics.balanced_accuracy == pytest.approx(0.5)


def test_threshold_allows_the_asked_rate_of_false_masks():
    rows = [row(False, n / 100) for n in range(100)]
    threshold = presence_threshold(rows, 0.1)
    assert sum(r.presence >= threshold for r in rows) == 10


def test_sets_count_alike_however_many_images_they_have():
    rows = [row(True, 0.9, iou=0.4) for _ in range(9)]
    rows += [row(True, 0.9, iou=0.8, dataset="PH2") for _ in range(3)]
    assert mean_over_sets(rows) == pytest.approx(0.6)


def test_sets_that_were_not_learned_do_not_choose_a_threshold():
    rows = [row(True, 0.9, iou=0.1) for _ in range(9)]
    rows += [row(True, 0.9, iou=0.8, dataset="PH2") for _ in range(3)]
    rows += [row(True, 0.9, iou=0.5, dataset="HRF") for _ in range(2)]
    assert mean_over_sets(rows) == pytest.approx(0.8)


def test_auroc_by_hand():
    assert auroc([0.9, 0.4, 0.5, 0.1], [True, True, False, False]) == pytest.approx(0.75)
    assert auroc([0.9], [True]) is None


def test_a_target_that_is_hardly_told_from_nothing_hides_no_other():
    told = [row(False, n / 100, target="tumor") for n in range(40)]
    told += [row(True, 0.9, target="tumor") for _ in range(20)]
    guessed = [row(False, 0.5 + n / 100, target="fracture") for n in range(40)]
    threshold, shifts = presence_rule([*told, *guessed], 0.05)
    calibration = Calibration(presence_shifts=shifts)

    def false_masks(rows):
        presences = [calibration.presence(math.log(p / (1 - p)), r.target) for r, p in rows]
        return sum(presence >= threshold for presence in presences)

    assert threshold == 0.5
    for rows in (told, guessed):
        absent = [(r, max(r.presence, 1e-3)) for r in rows if not r.present]
        assert false_masks(absent) == 2
    assert false_masks([(r, r.presence) for r in told if r.present]) == 20
