import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from training.evaluation import auroc
from training.evaluation.classification import (
    balanced_accuracy,
    calibration_error,
    majority,
    weighted_auroc,
    weighted_mean,
)

SCORED = st.lists(st.tuples(st.integers(-50, 50), st.booleans()), min_size=2, max_size=30)


def once(count):
    return np.ones((1, count))


def test_auroc_by_hand():
    assert auroc([0.9, 0.4, 0.5, 0.1], [True, True, False, False]) == pytest.approx(0.75)
    assert auroc([0.5, 0.5], [True, False]) == pytest.approx(0.5)
    assert auroc([0.9], [True]) is None
    assert auroc([], []) is None


@given(SCORED)
def test_auroc_only_sees_the_order(scored):
    scores, truth = zip(*scored, strict=True)
    assume(len(set(truth)) == 2)
    stretched = [score**3 + 2.0 * score for score in scores]
    assert auroc(stretched, truth) == pytest.approx(auroc(scores, truth))
    assert auroc([-s for s in scores], truth) == pytest.approx(1 - auroc(scores, truth))


@given(SCORED)
def test_auroc_is_the_fraction_of_pairs_in_order(scored):
    scores, truth = zip(*scored, strict=True)
    assume(len(set(truth)) == 2)
    pairs = [(p > n) + 0.5 * (p == n) for p, a in scored if a for n, b in scored if not b]
    assert auroc(scores, truth) == pytest.approx(np.mean(pairs))


@given(SCORED, st.data())
def test_weights_count_like_copies(scored, data):
    counts = data.draw(st.lists(st.integers(0, 3), min_size=len(scored), max_size=len(scored)))
    copies = [pair for pair, count in zip(scored, counts, strict=True) for _ in range(count)]
    scores, truth = (np.array(column) for column in zip(*scored, strict=True))
    weighted = weighted_auroc(scores.astype(float), truth, np.array([counts], float))[0]
    copied = auroc([s for s, _ in copies], [t for _, t in copies])
    assert np.isnan(weighted) if copied is None else weighted == pytest.approx(copied)


def test_a_constant_answer_has_the_majority_but_no_balance():
    labels = np.array([0] * 7 + [1] * 2 + [2])
    right = (labels == 0).astype(float)
    assert weighted_mean(right, once(10))[0] == pytest.approx(0.7)
    assert majority(labels, labels >= 0, once(10))[0] == pytest.approx(0.7)
    assert balanced_accuracy(right, labels, once(10))[0] == pytest.approx(1 / 3)


def test_unknown_diagnoses_do_not_count():
    right = np.array([1.0, np.nan, 0.0, np.nan])
    labels = np.array([0, -1, 1, -1])
    assert weighted_mean(right, once(4))[0] == pytest.approx(0.5)
    assert majority(labels, labels >= 0, once(4))[0] == pytest.approx(0.5)
    assert np.isnan(balanced_accuracy(np.full(4, np.nan), labels, once(4))[0])


def test_calibrated_probabilities_have_no_error():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0, 1, 20000)
    right = (rng.uniform(0, 1, 20000) < confidence).astype(float)
    assert calibration_error(confidence, right, once(20000))[0] < 0.015


def test_over_confidence_is_the_known_gap():
    right = np.array([1.0, 0.0] * 50)
    assert calibration_error(np.full(100, 0.95), right, once(100))[0] == pytest.approx(0.45)
    # Half of them sure and always right, half sure and always wrong, in two bins.
    confidence = np.array([0.95, 0.75] * 50)
    expected = 0.5 * 0.05 + 0.5 * 0.75
    assert calibration_error(confidence, right, once(100))[0] == pytest.approx(expected)


def test_certainty_has_a_bin():
    assert calibration_error(np.array([1.0, 0.0]), np.array([1.0, 0.0]), once(2))[0] == 0
