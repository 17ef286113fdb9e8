"""What scaling brings, on answers whose scores are known, and end to end on made-up data."""

import numpy as np
import pytest

from training import run
from training.evaluation import mask_confidence_error, mean_accuracy, surprise
from training.evaluation.scaling import (
    ANSWER_WAYS,
    CHOICES,
    CONSENSUS,
    COUNTS,
    ESTIMATE,
    EVERYTHING,
    MASK_WAYS,
    ORACLE,
    VOTE,
    ScaledRow,
    Trust,
    scaling_table,
    summarise_scaling,
)
from training.evaluation.scaling_plot import trust_figure


def scaled(dataset: str, cluster: str, gain: float) -> ScaledRow:
    """Consensus of more masks gains, votes change nothing, the oracle reaches 0.9."""
    masks = {(way, count): 0.5 for way in MASK_WAYS for count in COUNTS}
    for count in COUNTS[1:]:
        masks[CONSENSUS, count] = 0.5 + gain
        masks[ORACLE, count] = 0.9
    answers = {(way, count): 1.0 for way in ANSWER_WAYS for count in COUNTS}
    return ScaledRow(dataset, cluster, masks, answers=answers)


ROWS = [scaled("BUSI", f"b{n}", 0.1) for n in range(6)] + [
    scaled("PH2", f"p{n}", 0.02 if n % 2 else -0.02) for n in range(12)
]


def test_gains_are_against_the_single_pass_of_the_same_questions():
    means = summarise_scaling(ROWS, "masks")
    assert list(means) == ["BUSI", "PH2", EVERYTHING]
    assert means["BUSI"][CONSENSUS, 4].gain == pytest.approx(0.1)
    assert means["BUSI"][CONSENSUS, 4].gain_interval == pytest.approx((0.1, 0.1))
    assert means["PH2"][CONSENSUS, 2].gain == pytest.approx(0, abs=1e-9)
    low, high = means["PH2"][CONSENSUS, 2].gain_interval
    assert low < 0 < high
    assert means[EVERYTHING][CONSENSUS, 8].value == pytest.approx(0.55)
    assert summarise_scaling(ROWS, "answers")[EVERYTHING][VOTE, 8].gain == 0


def test_the_table_marks_what_is_more_than_chance():
    table = scaling_table(ROWS)
    busi, ph2 = (
        next(line for line in table.splitlines() if line.startswith(f"| {name} |"))
        for name in ("BUSI", "PH2")
    )
    assert "**+0.100**" in busi
    assert "**" not in ph2.split("**+0.400**")[0]
    assert "| set | 1 | consensus 2 |" in table
    assert "vote 8" in table


def test_masks_of_nothing_are_told_for_every_way_that_a_user_can_choose():
    drawn = {(way, count): 0.0 for way in CHOICES for count in COUNTS}
    drawn |= {(ESTIMATE, 4): 1.0, (ESTIMATE, 8): 1.0}
    empty = dict.fromkeys(drawn, 0.0)
    rows = [ScaledRow("LGG", str(n), false_masks=drawn if n else empty) for n in range(4)]
    means = summarise_scaling([*ROWS, *rows], "false_masks")
    assert list(means) == ["LGG", EVERYTHING]
    assert means["LGG"][ESTIMATE, 4].value == 0.75
    assert means["LGG"][CONSENSUS, 8].value == 0
    title, _, head, _, lgg, _ = scaling_table(rows).splitlines()
    assert title.startswith("Masks of nothing")
    assert "oracle" not in head
    assert lgg.startswith("| LGG | 0.000 | +0.000 |")
    assert "+0.750" in lgg


def test_questions_without_truth_are_left_out():
    rows = [ScaledRow("ISIC", "i", answers=ROWS[0].answers), *ROWS]
    assert "ISIC" not in summarise_scaling(rows, "masks")
    assert "ISIC" in summarise_scaling(rows, "answers")
    assert scaling_table([]) == ""


def test_confidence_of_votes_and_masks_is_drawn_against_what_is_true():
    sure = Trust(0.8, 1.0, right=1.0, mask_confidence=0.75, dice=0.5)
    split = Trust(0.4, 0.625, right=0.0, mask_confidence=None, dice=0.0)
    unknown = Trust(0.9, 1.0, right=None, mask_confidence=0.95, dice=None)
    rows = [ScaledRow("PH2", str(n), trust=t) for n, t in enumerate([sure, split, unknown])]
    votes, probability, mask = (
        axes.collections[-1].get_offsets().tolist() for axes in trust_figure(rows).axes[:3]
    )
    assert votes == [[0.625, 0.0], [1.0, 1.0]]
    assert probability == [[0.4, 0.0], [0.8, 1.0]]
    assert mask == [[0.75, 0.5]]


def test_the_command_writes_table_and_plot(made_up_data, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SIM4SEG_DATA", str(made_up_data))
    target = tmp_path / "scaling"
    arguments = ["scaling", "--sets", "PH2", "--limit", "3", "--to", str(target)]
    assert run.main(arguments) == 0
    assert "| PH2 |" in capsys.readouterr().out
    assert (target / "scaling.md").read_text().startswith("Mean IoU")
    assert (target / "scaling.png").stat().st_size > 10_000
    assert (target / "reliability.png").stat().st_size > 10_000
    assert run.main(arguments) == 2
    assert "not empty" in capsys.readouterr().err


def test_surprise_is_least_where_confidence_is_the_frequency_of_being_right(row):
    def rows(confidence):
        right = [row(confidence=confidence) for _ in range(7)]
        return right + [row(confidence=confidence, predicted="glioma") for _ in range(3)]

    values = {c: surprise(rows(c)) for c in (0.3, 0.5, 0.7, 0.9, 1.0)}
    assert min(values, key=values.get) == 0.7
    assert np.isfinite(values[1.0])
    assert surprise([row(diagnosis=None)]) == 0.0


def test_a_masks_confidence_is_compared_with_its_dice(masked_row):
    truth = np.zeros((8, 8), bool)
    truth[2:6, 2:6] = True
    assert mask_confidence_error([masked_row(truth, truth, mask_confidence=1.0)]) == 0
    assert mask_confidence_error([masked_row(truth, truth, mask_confidence=0.5)]) == 0.25
    assert mask_confidence_error([masked_row(truth, truth)]) == 0


def test_accuracy_over_sets_leaves_out_those_where_chance_decides(row):
    many = [row(predicted="glioma" if n % 2 else "lower-grade glioma") for n in range(20)]
    few = [row(dataset="PH2") for _ in range(3)]
    assert mean_accuracy([*many, *few]) == 0.5
    assert mean_accuracy(few) == 1.0
    assert mean_accuracy([]) == 0.0
