"""Several answers and masks of one query, with the embedded model."""

import numpy as np
import pytest

from Sim4SegCore import ScalingConfig, Sim4SegError
from Sim4SegCore.examples import dice, draw_phantom

QUERY = "Is there a skin lesion? Segment it and tell me what it is."
EVERYTHING = ScalingConfig(samples=4, masks=8, seed=3, stop_early=False)


@pytest.fixture(scope="module")
def result(embedded):
    return embedded.segment(draw_phantom()[0], QUERY, EVERYTHING)


def test_every_candidate_is_kept_for_inspection(result):
    assert len(result.samples.answers) == 4
    names = [candidate.name for candidate in result.samples.masks]
    assert names[:2] == ["as it is", "mirrored"]
    assert len(set(names)) == len(names) >= 5
    for candidate in result.samples.masks:
        assert candidate.mask.shape == result.mask.shape
        assert np.isfinite(candidate.estimated_iou)
    assert result.reasoning in {answer.reasoning for answer in result.samples.answers}
    votes = [answer.diagnosis for answer in result.samples.answers]
    assert votes.count(result.diagnosis.label) == max(votes.count(vote) for vote in votes)


def test_sams_proposals_come_before_views_from_near_and_the_most_promising_first(result):
    masks = result.samples.masks
    proposals = [n for n, mask in enumerate(masks) if mask.name.startswith("SAM's")]
    assert proposals == [2, 3, 4]
    estimates = [masks[n].estimated_iou for n in proposals]
    assert estimates == sorted(estimates, reverse=True)


def test_every_further_view_is_decoded_in_one_call(embedded, monkeypatch):
    batches = []
    draw = embedded.model.draw

    def counted(seg_state, *others):
        batches.append(len(seg_state))
        return draw(seg_state, *others)

    monkeypatch.setattr(embedded.model, "draw", counted)
    views = embedded.segment(draw_phantom()[0], QUERY, ScalingConfig(masks=8)).samples.masks
    assert batches == [1, len(views) - 1 - 3]
    batches.clear()
    embedded.ask(QUERY, ScalingConfig(masks=4))
    assert batches == [1, 1]


def test_each_way_of_looking_finds_the_lesion_where_it_is(result):
    truth = draw_phantom()[1]
    views = {candidate.name: candidate.mask for candidate in result.samples.masks}
    for name in ("as it is", "mirrored", "zoomed", "zoomed and mirrored"):
        if name in views:
            assert dice(views[name], truth) > 0.8, name
    assert dice(result.mask, truth) > 0.85
    assert 0.5 < result.findings[0].mask_confidence <= 1


def test_the_same_seed_gives_the_same_result(embedded, result):
    again = embedded.segment(draw_phantom()[0], QUERY, EVERYTHING)
    assert np.array_equal(again.mask, result.mask)
    assert [a.reasoning for a in again.samples.answers] == [
        a.reasoning for a in result.samples.answers
    ]
    assert again.diagnosis.label == result.diagnosis.label


def test_more_answers_begin_with_the_same_ones(embedded, result):
    more = embedded.segment(
        draw_phantom()[0], QUERY, ScalingConfig(samples=7, seed=3, stop_early=False)
    )
    first = [answer.reasoning for answer in more.samples.answers[:4]]
    assert first == [answer.reasoning for answer in result.samples.answers]


def test_a_single_pass_keeps_no_candidates(embedded):
    alone = embedded.segment(draw_phantom()[0], QUERY, ScalingConfig())
    assert alone.samples.answers == alone.samples.masks == ()


@pytest.mark.parametrize("choice", ["estimated IoU", "agreement", "text"])
def test_a_chosen_mask_is_one_of_the_candidates(embedded, choice):
    chosen = embedded.segment(draw_phantom()[0], QUERY, ScalingConfig(masks=4, choice=choice))
    assert any(np.array_equal(chosen.mask, c.mask) for c in chosen.samples.masks)


def test_a_vote_that_is_decided_ends_the_sampling(embedded):
    early = embedded.segment(draw_phantom()[0], QUERY, ScalingConfig(samples=32))
    labels = {answer.diagnosis for answer in early.samples.answers}
    if len(labels) == 1:
        assert 16 < len(early.samples.answers) < 32
    assert early.diagnosis.label in labels


def test_an_empty_image_has_nothing_to_zoom_into(embedded):
    blank = np.full((120, 160, 3), 128, np.uint8)
    result = embedded.segment(blank, "Is there a fracture? Segment it.", EVERYTHING)
    assert not result.mask.any()
    assert result.findings[0].mask_confidence is None


def test_impossible_numbers_are_refused():
    with pytest.raises(Sim4SegError, match="masks is 1000"):
        ScalingConfig(masks=1000)


@pytest.mark.parametrize(
    ("query", "sided"),
    [
        ("Segment the left lung.", True),
        ("Is there a mass in the RIGHT breast?", True),
        ("What is left of the lesion is bright: segment the lesion", True),
        ("Is there a skin lesion? Look straight at it.", False),
        ("Is the outline copyright of the lesion leftover?", False),
    ],
)
def test_a_query_that_names_a_side_is_not_answered_in_a_mirror(embedded, query, sided):
    masks = embedded.segment(draw_phantom()[0], query, ScalingConfig(masks=8)).samples.masks
    names = [candidate.name for candidate in masks]
    assert len(names) >= 4
    assert any("mirrored" in name for name in names) == (not sided)
