"""Perfect, constant and failing predictors get the metrics that they must."""

import dataclasses

import numpy as np
import pytest

from training.evaluation import summarise
from training.evaluation.metrics import METRICS


def square(left, side=10):
    mask = np.zeros((30, 40), bool)
    mask[5 : 5 + side, left : left + side] = True
    return mask


def by_name(table):
    return {metrics.name: metrics for metrics in table}


def test_a_perfect_predictor(masked_row, row):
    facts = {"presence": "present", "location": "in the centre", "shape": "round"}
    rows = [
        masked_row(
            square(n), square(n), id=str(n), presence=1.0, confidence=1.0, stated=facts, true=facts
        )
        for n in range(5)
    ]
    absent = {"presence": "absent"}
    rows += [
        row(
            id=f"n{n}", present=False, presence=0.0, mask_drawn=False, confidence=1.0,
            diagnosis="no tumor", predicted="no tumor", stated=absent, true=absent,
        )
        for n in range(3)
    ]  # fmt: skip
    metrics = summarise(rows, 0.5)[-1]
    for name in ("giou", "ciou", "dice", "nsd", "presence_auroc", "accuracy", "fact_agreement"):
        assert getattr(metrics, name) == pytest.approx(1.0), name
    for name in ("hd95", "false_masks", "ece", "presence_ece"):
        assert getattr(metrics, name) == pytest.approx(0.0), name
    assert metrics.balanced_accuracy == 1.0
    assert metrics.majority == pytest.approx(5 / 8)


def test_a_constant_answer_is_exposed(masked_row):
    places = ["in the centre"] * 3 + ["in the left part"] * 2
    rows = [
        masked_row(
            square(5), square(5), id=str(n), diagnosis="b" if n < 2 else "a", predicted="a",
            stated={"location": "in the centre"}, true={"location": place},
        )
        for n, place in enumerate(places)
    ]  # fmt: skip
    metrics = summarise(rows, 0.5)[-1]
    assert metrics.accuracy == metrics.majority == pytest.approx(0.6)
    assert metrics.balanced_accuracy == pytest.approx(0.5)
    location = metrics.facts["location"]
    assert location.agreement == location.constant == pytest.approx(0.6)
    assert metrics.fact_agreement == metrics.fact_constant == pytest.approx(0.6)
    assert location.statements == 5


def test_summed_and_mean_iou_differ_by_size(masked_row):
    rows = [masked_row(square(2, 20), square(2, 20)), masked_row(square(20, 2), square(2, 2))]
    metrics = summarise(rows, 0.5)[-1]
    assert metrics.giou == pytest.approx(0.5)
    assert metrics.ciou == pytest.approx(400 / 408)


def test_a_withheld_mask_counts_as_missed(masked_row):
    rows = [masked_row(square(5), square(5), presence=0.3)]
    metrics = summarise(rows, 0.5)[-1]
    assert (metrics.giou, metrics.giou_ungated) == (0.0, 1.0)
    assert (metrics.dice, metrics.nsd, metrics.ciou) == (0.0, 0.0, 0.0)
    assert metrics.hd95 == pytest.approx(100.0)


def test_the_mean_over_sets_weighs_sets_alike_and_chest_targets_as_one(masked_row):
    hit = [masked_row(square(5), square(5), id=str(n), dataset="PH2") for n in range(9)]
    chest = [
        masked_row(square(20), square(5), id=target, dataset="COVID-CXR", target=target)
        for target in ("left lung", "right lung", "tubings")
    ]
    table = by_name(summarise(hit + chest, 0.5))
    assert set(table) == {
        "PH2", "COVID-CXR left lung", "COVID-CXR right lung", "COVID-CXR tubings", "macro", "all",
    }  # fmt: skip
    assert table["macro"].giou == pytest.approx(0.5)
    assert table["all"].giou == pytest.approx(0.75)


def test_intervals_hold_their_metric_and_need_two_patients(mixed_rows):
    table = by_name(summarise(mixed_rows, 0.5))
    assert table["LGG"].groups == 12
    for metrics in table.values():
        for name, (low, high) in metrics.intervals.items():
            assert low <= getattr(metrics, name) + 1e-9, (metrics.name, name)
            assert low <= high
    low, high = table["LGG"].intervals["giou"]
    assert low < table["LGG"].giou < high
    one = [dataclasses.replace(row, group="same") for row in mixed_rows if row.dataset == "LGG"]
    assert summarise(one, 0.5)[0].intervals == {}


def test_every_metric_is_reported(mixed_rows):
    fields = {f.name for f in dataclasses.fields(summarise(mixed_rows, 0.5)[0])}
    assert set(METRICS) <= fields


def test_nothing_answered_gives_no_table():
    assert summarise([], 0.5) == []


def test_confidences_are_held_against_what_came_of_them(masked_row, row):
    shifted = [masked_row(square(5), square(10), mask_confidence=0.9) for _ in range(4)]
    vague = [row(uncertain=True, predicted="glioma", confidence=0.3) for _ in range(4)]
    metrics = summarise([*shifted, *vague], 0.5)[-1]
    assert metrics.mask_ece == pytest.approx(0.9 - 0.5)
    assert metrics.uncertain == pytest.approx(0.5)
    assert metrics.certain_accuracy == 1.0
    assert metrics.accuracy == pytest.approx(0.5)
    unmeasured = summarise(vague, 0.5)[-1]
    assert (unmeasured.mask_ece, unmeasured.certain_accuracy) == (None, None)
