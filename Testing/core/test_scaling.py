"""How answers and masks are combined, on made-up ones whose outcome is plain."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.reasoning.naming import diagnosis_meaning
from Sim4SegCore.scaling import (
    conclude,
    consensus,
    expected_dice,
    is_decided,
    mean_agreement,
    unite,
    vote,
)
from Sim4SegCore.scaling_config import Calibration, ScalingConfig

PLAIN = Calibration()
LABELS = ("benign", "malignant", "normal")


def answer(*shares: float) -> dict[str, float]:
    return dict(zip(LABELS, shares, strict=True))


def square(top: int, side: int) -> torch.Tensor:
    logits = torch.full((32, 32), -6.0)
    logits[top : top + side, top : top + side] = 6.0
    return logits


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"samples": 0}, "samples is 0; give a whole number from 1 to 64"),
        ({"samples": 1000}, "samples is 1000"),
        ({"masks": 0}, "masks is 0; give a whole number from 1 to 8"),
        ({"masks": 1000}, "masks is 1000"),
        ({"samples": 2.5}, "samples is 2.5"),
        ({"seed": "x"}, "seed is x; give a whole number"),
        ({"choice": "oracle"}, "give one of consensus, estimated IoU, agreement, text"),
        ({"temperature": 0.0}, "temperature is 0.0; give at least 0.05"),
        ({"temperature": math.nan}, "temperature is nan"),
    ],
)
def test_impossible_settings_are_explained(values, words):
    with pytest.raises(Sim4SegError, match=words):
        ScalingConfig(**values)


def test_most_votes_win_whatever_one_answer_is_sure_of():
    answers = [answer(0.4, 0.35, 0.25), answer(0.4, 0.35, 0.25), answer(0.0, 1.0, 0.0)]
    label, probabilities = vote(answers, [-1.0, -1.0, -1.0], PLAIN)
    assert label == "benign"
    assert next(iter(probabilities)) == "benign"
    assert probabilities["malignant"] == pytest.approx((0.35 + 0.35 + 1) / 3)


def test_a_tie_goes_to_the_more_fluent_answers():
    answers = [answer(0.8, 0.1, 0.1), answer(0.1, 0.8, 0.1)]
    assert vote(answers, [-1.0, -0.5], PLAIN)[0] == "malignant"
    assert vote(answers, [-0.5, -1.0], PLAIN)[0] == "benign"


def test_words_for_one_diagnosis_are_one_vote():
    answers = [{"Melanoma": 0.5}, {"nevus": 0.9}, {"malignant melanoma": 0.6}, {"no melanoma": 0.9}]
    united = unite(answers, diagnosis_meaning)
    label, probabilities = vote(united, [-1.0, -0.1, -1.0, -0.1], PLAIN)
    assert label == "Melanoma"
    assert probabilities["Melanoma"] == pytest.approx(1.1 / 4)
    assert probabilities["no melanoma"] == pytest.approx(0.9 / 4)


def test_a_label_that_only_some_answers_know_counts_nothing_in_the_others():
    label, probabilities = vote([{"cyst": 0.5}, {"cyst": 0.7}, {"abscess": 0.9}], [0, 0, 0], PLAIN)
    assert label == "cyst"
    assert probabilities == pytest.approx({"cyst": 0.4, "abscess": 0.3})


@given(
    st.lists(st.lists(st.floats(0.01, 1), min_size=3, max_size=3), min_size=1, max_size=8),
    st.floats(0.2, 5),
)
def test_calibrated_probabilities_remain_a_distribution(weights, temperature):
    answers = [answer(*(w / sum(shares) for w in shares)) for shares in weights]
    _, plain = vote(answers, [0.0] * len(answers), PLAIN)
    label, warm = vote(answers, [0.0] * len(answers), Calibration(temperature))
    assert sum(warm.values()) == pytest.approx(1)
    assert label == next(iter(plain)) == next(iter(warm))


def test_a_high_temperature_is_less_sure():
    answers = [answer(0.9, 0.05, 0.05)]
    cool, warm = (vote(answers, [0.0], Calibration(t))[1]["benign"] for t in (1.0, 3.0))
    assert 1 / 3 < warm < cool == pytest.approx(0.9)


@given(st.lists(st.sampled_from(LABELS), min_size=1, max_size=9), st.integers(0, 4))
def test_a_decided_vote_is_never_overturned(ballots, outstanding):
    answers = [{label: 1.0} for label in ballots]
    if is_decided(answers, outstanding):
        now = vote(answers, [0.0] * len(answers), PLAIN)[0]
        for late in LABELS:
            more = [*answers, *([{late: 1.0}] * outstanding)]
            assert vote(more, [0.0] * len(more), PLAIN)[0] == now
    elif outstanding == 0:
        counts = sorted((ballots.count(label) for label in LABELS), reverse=True)
        assert counts[0] == counts[1]


def test_below_the_threshold_a_diagnosis_is_uncertain():
    shares = answer(0.48, 0.41, 0.11)
    sure = conclude(shares, "benign", Calibration(abstain_below=0.4))
    unsure = conclude(shares, "benign", Calibration(abstain_below=0.5))
    assert (sure.uncertain, unsure.uncertain) == (False, True)
    assert unsure.alternatives[0] == ("malignant", 0.41)
    assert not conclude(shares, None, Calibration(abstain_below=0.5)).uncertain


def test_the_consensus_outvotes_one_wrong_mask():
    right, wrong = square(4, 12), square(20, 8)
    fused = consensus([right, right, wrong]) > 0
    assert torch.equal(fused, right > 0)


def test_agreement_prefers_the_mask_that_is_most_like_the_others():
    masks = [square(top, 10) > 0 for top in (4, 5, 6, 20)]
    scores = mean_agreement(masks)
    assert scores.index(max(scores)) == 1
    assert scores[3] == pytest.approx(0)
    assert mean_agreement(masks[:1]) == [1.0]
    assert mean_agreement([torch.zeros(4, 4, dtype=torch.bool)] * 2) == [1.0, 1.0]


def test_expected_dice_is_what_dice_averages_to():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(64, 64, generator=generator) * 2
    mask = logits > 0
    dices = []
    for _ in range(300):
        truth = torch.rand(64, 64, generator=generator) < logits.sigmoid()
        dices.append(float(2 * (truth & mask).sum() / (truth.sum() + mask.sum())))
    assert expected_dice(logits, mask, PLAIN) == pytest.approx(sum(dices) / 300, abs=5e-3)
    assert expected_dice(logits, mask, Calibration(mask_temperature=3.0)) < sum(dices) / 300
    assert expected_dice(logits, torch.zeros_like(mask), PLAIN) is None


def test_a_diagnosis_is_believed_as_far_as_it_was_checked():
    shares = {"macular degeneration": 0.98, "healthy": 0.02}
    calibration = Calibration(diagnoses_checked={"skin lesion": 500, "retinal vessels": 2})
    often, seldom, never = (
        calibration.believed(shares, target)
        for target in ("skin lesion", "retinal vessels", "left lung")
    )
    sure = [believed["macular degeneration"] for believed in (often, seldom, never)]
    assert often == shares
    assert sure[0] > 0.9 > sure[1] > 0.6 > sure[2] > 0.5
    for believed in (often, seldom, never):
        assert sum(believed.values()) == pytest.approx(1.0)
        assert list(believed) == list(shares)
    assert Calibration().believed(shares, "left lung") == shares
