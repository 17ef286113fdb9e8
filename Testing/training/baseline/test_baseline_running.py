"""The command from the first step to the table: killed, resumed, refused."""

import csv

import pytest
import torch

from Sim4SegCore.errors import Sim4SegError
from training import run
from training.ablation.stored import Answers, read_answers
from training.baseline import running
from training.baseline.comparison import Compared, differences
from training.baseline.config import load_baseline
from training.evaluation import summarise
from training.evaluation.tables import metrics_json, rows_csv
from training.network_trainer import NetworkTrainer
from training.records import read_records
from training.state import STATE_FILE, read


@pytest.fixture
def evaluation(made_up_data, model_rows, tmp_path):
    """A folder with what is read of those that `evaluate --to` writes."""
    rows = model_rows(read_records(made_up_data / "m3ds", "val"))
    folder = tmp_path / "evaluation"
    folder.mkdir()
    (folder / "rows.csv").write_text(rows_csv(rows))
    (folder / "metrics.json").write_text(metrics_json(summarise(rows, 0.5), 0.5))
    return folder


@pytest.fixture
def command(config_file, evaluation):
    return ["baseline", "--config", str(config_file), "--evaluation", str(evaluation)]


def table_rows(path):
    with path.open(newline="") as file:
        return {
            (row["set"], row["metric"], row["network"]): row["value"]
            for row in csv.DictReader(file)
        }


def test_the_table_has_each_ones_numbers(command, tmp_path, made_up_data, capsys):
    assert run.main(command) == 0
    place = tmp_path / "baseline" / "val"
    printed = capsys.readouterr().out
    assert printed.strip() == (place / "comparison.md").read_text().strip()
    values = table_rows(place / "comparison.csv")
    val = read_records(made_up_data / "m3ds", "val")
    for folder, network, metrics in (
        ("unet", "U-Net", ("giou", "false_masks")),
        ("classifier", "classifier", ("accuracy", "balanced_accuracy")),
    ):
        answers = [read_answers(path) for path in sorted((place / folder).iterdir())]
        rows = [row for kept in answers for row in kept.rows]
        assert sorted(row.id for row in rows) == sorted(record.id for record in val)
        for expected in summarise(rows, 0.5)[:-1]:
            for metric in metrics:
                value = getattr(expected, metric)
                assert values[expected.name, metric, network] == (
                    "" if value is None else str(value)
                )
    assert values["PH2", "giou", "Sim4Seg"] == "1.0"
    assert values["PH2", "accuracy", "Sim4Seg"] == "0.5"
    assert values["macro", "accuracy", "Sim4Seg"] == str(0.5 / 3)
    ours, theirs, between = (
        float(values["macro", "giou", name]) for name in ("Sim4Seg", "U-Net", "difference")
    )
    assert between == pytest.approx(ours - theirs)
    lines = [line for line in printed.splitlines() if line.startswith("| ")]
    sets = [line.split("|")[1].strip() for line in lines]
    assert sets[1:5] == ["HRF", "LGG", "PH2", "macro"]
    assert f"| {theirs:.3f}" in lines[4]


def test_a_killed_run_ends_like_an_uninterrupted_one(command, tmp_path, monkeypatch, capsys):
    assert run.main([*command, f"output={tmp_path / 'whole'}"]) == 0
    whole = capsys.readouterr().out
    steps = []
    train_step = NetworkTrainer.train_step

    def dying(trainer, batch):
        steps.append((trainer.output.name, trainer.step))
        if len(steps) == 3:
            raise KeyboardInterrupt
        return train_step(trainer, batch)

    monkeypatch.setattr(NetworkTrainer, "train_step", dying)
    assert run.main(command) == run.EXIT_INTERRUPTED
    capsys.readouterr()
    assert run.main(command) == 0
    assert capsys.readouterr().out == whole
    # The last state was saved after step 2 of 3.
    assert steps[3:] == [("masks", 2), *(("diagnosis", step) for step in range(3))]
    for name in ("masks", "diagnosis"):
        ours = read(tmp_path / "baseline" / name / STATE_FILE)
        theirs = read(tmp_path / "whole" / name / STATE_FILE)
        for kind in ("model", "average", "buffers"):
            assert ours[kind].keys() == theirs[kind].keys()
            for key, value in ours[kind].items():
                assert torch.equal(value, theirs[kind][key]), key

    monkeypatch.setattr(running, "answers_by_set", answered_before(running.answers_by_set))
    assert run.main(command) == 0
    assert capsys.readouterr().out == whole
    assert len(steps) == 7


def answered_before(answers_by_set):
    """`answers_by_set` that must not ask again."""

    def forbidden(_):
        raise AssertionError("asked again")

    return lambda folder, records, _, threshold: answers_by_set(
        folder, records, forbidden, threshold
    )


def test_the_model_is_asked_and_its_answers_are_kept(config_file, tmp_path, monkeypatch, capsys):
    command = ["baseline", "--config", str(config_file), "--limit", "6"]
    assert run.main(command) == 0
    table = capsys.readouterr().out
    [kept] = (tmp_path / "baseline" / "val-every-6").glob("model-*/*.json")
    assert [row.id for row in read_answers(kept).rows] == ["val0"]
    assert "| PH2 | 1 |" in table
    monkeypatch.setattr(running, "evaluate", None)
    assert run.main(command) == 0
    assert capsys.readouterr().out == table


def test_it_is_trained_on_what_the_model_is_trained_on(config, made_up_data):
    folder = made_up_data / "m3ds"
    for make in (running._mask_trainer, running._diagnosis_trainer):
        trainer = make(config, folder)
        used = {name for step in range(30) for name in trainer.batches[step].record_ids}
        kept, held_out = running.split_calibration(
            read_records(folder, "train"), trainer.config.calibration_fraction
        )
        assert held_out
        assert used == {record.id for record in kept}


def test_stages_keep_their_share_of_a_shorter_run(config_file, tmp_path):
    stages = "{sampling: {stages: [{until: 3000, set_weights: {PH2: 0.0}}]}, steps: 6000}"
    (tmp_path / "staged.yaml").write_text(stages)
    config = load_baseline(config_file, ["masks.base=staged.yaml", "masks.steps=100"])
    [stage] = config.training(config.masks).sampling.stages
    assert (stage.until, stage.set_weights) == (50, {"PH2": 0.0})


def test_what_is_not_its_own_is_not_touched(command, tmp_path, capsys):
    foreign = tmp_path / "baseline"
    (foreign / "masks").mkdir(parents=True)
    (foreign / "masks" / "config.yaml").write_text("mine")
    assert run.main(command) == 2
    assert "is not empty and holds no baseline" in capsys.readouterr().err
    assert [path.name for path in foreign.rglob("*")] == ["masks", "config.yaml"]
    assert (foreign / "masks" / "config.yaml").read_text() == "mine"


def test_another_configuration_does_not_continue_a_baseline(command, tmp_path, capsys):
    assert run.main([*command, "diagnosis.architecture=resnet99"]) == 2
    assert "resnet99" in capsys.readouterr().err
    assert run.main(command) == 0
    capsys.readouterr()
    assert run.main([*command, "masks.filters=[8, 8]"]) == 2
    assert "another configuration" in capsys.readouterr().err


def test_answers_to_other_questions_are_refused(command, made_up_data, evaluation, capsys):
    assert run.main(command) == 0
    val = made_up_data / "m3ds" / "val.jsonl"
    lines = val.read_text().splitlines()
    val.write_text("\n".join(lines[:-1]) + "\n")
    assert run.main(command) == 2
    assert "answers other questions" in capsys.readouterr().err
    val.write_text("\n".join(lines).replace('"glaucoma"', '"healthy"') + "\n")
    assert run.main(command) == 2
    assert "does not answer what the split asks of val5" in capsys.readouterr().err
    val.write_text("\n".join(lines[:-1]) + "\n")
    rows = (evaluation / "rows.csv").read_text().splitlines()
    (evaluation / "rows.csv").write_text("\n".join(rows[:-2]) + "\n")
    assert run.main(command) == 2
    assert "does not answer what the split asks of val4" in capsys.readouterr().err
    (evaluation / "rows.csv").unlink()
    assert run.main(command) == 2
    assert "no evaluation in" in capsys.readouterr().err


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_state(mask_trainer):
    trainer = mask_trainer()
    trainer.run()
    saved = (trainer.output / STATE_FILE).read_bytes()
    with torch.no_grad():
        next(trainer.network.parameters()).fill_(float("nan"))
    with pytest.raises(Sim4SegError, match="not finite at step 3"):
        trainer.train_step(trainer.batches[0])
    assert (trainer.output / STATE_FILE).read_bytes() == saved


def test_the_averaged_weights_are_what_is_asked(mask_trainer):
    trainer = mask_trainer()
    trainer.run()
    averaged = dict(trainer.averaged().named_parameters())
    assert averaged.keys() == trainer.average.values.keys()
    for name, value in trainer.average.values.items():
        assert torch.equal(averaged[name], value)
    assert any(not torch.equal(p, averaged[n]) for n, p in trainer.network.named_parameters())


def test_differences_are_those_of_the_same_patients(model_rows, made_up_data):
    rows = tuple(model_rows(read_records(made_up_data / "m3ds", "val")))
    answers = Answers(rows, 0.5)
    found = differences(Compared(answers, answers, answers))
    assert found.keys() >= {"giou", "false_masks", "accuracy", "balanced_accuracy"}
    assert all(d.value == 0 and d.bounds == (0.0, 0.0) for d in found.values())
