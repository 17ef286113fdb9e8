"""Small volumes are looked at along all three planes, which vote."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from stacks import marked_places, noise_volume, stored_anew
from tiny import compact_model

from Sim4SegCore import Geometry, ModelIdentity, Sim4Seg, Sim4SegError
from Sim4SegCore.progress import StopAndKeepError
from Sim4SegCore.volume import SliceOptions, VolumeCase
from Sim4SegCore.volume.grounding import SliceGrounder
from Sim4SegCore.volume.plane_voting import FEW_SLICES, consensus

QUERY = "Is there a polyp? Segment it."
EVEN = ((24, 30, 36), (1.0, 1.0, 1.0))


@pytest.fixture(scope="module")
def tiny():
    torch.set_num_threads(1)
    return compact_model(presence_threshold=0.1)


@pytest.fixture
def predictor(tiny):
    return Sim4Seg(tiny, ModelIdentity("tiny", "0", "0"))


def ball_volume(direction=(1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)):
    """A bright ellipsoid off the centre of a dark volume, and its voxels."""
    k, j, i = np.ogrid[:24, :30, :36]
    ball = ((k - 9) / 6) ** 2 + ((j - 17) / 8) ** 2 + ((i - 14) / 9) ** 2 < 1
    voxels = np.where(ball, 1000, 0).astype(np.int16)
    voxels[0, 0, 0] = 1  # no slice of the ball's own is uniform
    return VolumeCase(voxels, Geometry((1.0, 1.2, 1.1), (5.0, -6.0, 7.0), direction)), ball


@pytest.fixture
def draws_what_is_bright(monkeypatch):
    """Masks are where the picture that SAM sees is bright; notes plane and frame of each batch."""
    drawn = []

    def draw(grounder, numbers, seg_state, similarity, sam_frame=None):
        frame = sam_frame or grounder.sam_frame
        drawn.append((grounder.pictures.view.plane, frame.mirrored))
        shown = grounder.pictures.framed(numbers, frame)[:, :1].float()
        side = grounder.model.config.segmenter.prompt_size
        return (F.interpolate(shown, (side, side), mode="area")[:, 0] / 127 - 1).half() * 3

    monkeypatch.setattr(SliceGrounder, "draw", draw)
    return drawn


@pytest.fixture
def blind(monkeypatch):
    """Let the language model see nothing in slices of one plane."""

    def make(plane):
        read = SliceGrounder.read

        def reading(grounder, numbers, seg_state):
            seen = read(grounder, numbers, seg_state)
            level = -20.0 if grounder.pictures.view.plane == plane else 20.0
            return dataclasses.replace(
                seen, presence_logits=torch.full_like(seen.presence_logits, level)
            )

        monkeypatch.setattr(SliceGrounder, "read", reading)

    return make


def overlap(mask, truth):
    return 2 * (mask & truth).sum() / (mask.sum() + truth.sum())


@pytest.mark.parametrize("degrees", [0, 11])
def test_what_every_plane_shows_is_marked_where_it_is(
    predictor, draws_what_is_bright, blind, degrees
):
    blind(None)
    turn = np.radians(degrees)
    cosine, sine = float(np.cos(turn)), float(np.sin(turn))
    case, ball = ball_volume((cosine, -sine, 0, sine, cosine, 0, 0, 0, 1.0))
    result = predictor.segment_volume(case, QUERY)
    assert set(result.planes) == {"axial", "coronal", "sagittal"}
    assert result.planes[0] == result.view.plane
    assert overlap(result.mask, ball) > 0.95
    mirrors = {(plane, mirrored) for plane, mirrored in draws_what_is_bright}
    assert mirrors == {(p, (False, m)) for p in result.planes for m in (False, True)}


@pytest.mark.parametrize(
    ("order", "is_reversed"),
    [
        ((0, 1, 2), (True, False, True)),
        ((1, 2, 0), (False, True, False)),
        ((2, 1, 0), (False, False, False)),
    ],
)
def test_the_same_anatomy_is_marked_however_the_volume_is_stored(predictor, order, is_reversed):
    case = noise_volume(*EVEN)
    predictor.model.config = dataclasses.replace(predictor.model.config, mask_threshold=0.49)
    reference = predictor.segment_volume(case, QUERY, SliceOptions(axis="axial"))
    anew = stored_anew(case, order, is_reversed)
    first, second = (predictor.segment_volume(each, QUERY) for each in (case, anew))
    assert len(first.planes) == len(second.planes) == 3
    expected = marked_places(first.mask, case.geometry)
    found = marked_places(second.mask, anew.geometry)
    assert len(found) == pytest.approx(len(expected), rel=0.02)
    assert reference.planes == ("axial",)


def test_a_mistake_on_one_plane_is_outvoted(predictor, draws_what_is_bright, blind, monkeypatch):
    blind(None)
    right = SliceGrounder.draw

    def draw(grounder, numbers, seg_state, similarity, sam_frame=None):
        logits = right(grounder, numbers, seg_state, similarity, sam_frame)
        return -logits if grounder.pictures.view.plane == "coronal" else logits

    monkeypatch.setattr(SliceGrounder, "draw", draw)
    case, ball = ball_volume()
    assert overlap(predictor.segment_volume(case, QUERY).mask, ball) > 0.95
    alone = predictor.segment_volume(case, QUERY, SliceOptions(axis="coronal"))
    assert overlap(alone.mask, ball) < 0.5


def test_what_one_plane_does_not_show_is_not_marked_and_that_is_said(
    predictor, draws_what_is_bright, blind
):
    blind("sagittal")
    case, ball = ball_volume()
    result = predictor.segment_volume(case, QUERY)
    assert not result.mask.any() and result.findings[0].confidence < 0.01
    (warning,) = [text for text in result.warnings if "planes" in text or "slices, but" in text]
    assert "axial" in warning and "not in sagittal ones" in warning
    alone = predictor.segment_volume(case, QUERY, SliceOptions(axis="axial"))
    assert overlap(alone.mask, ball) > 0.9


def test_where_the_first_plane_shows_nothing_no_other_is_looked_at(
    predictor, draws_what_is_bright, blind
):
    blind("axial")
    result = predictor.segment_volume(noise_volume(*EVEN), QUERY)
    assert result.planes == ("axial",) and not result.mask.any() and not draws_what_is_bright
    assert not any("slices, but" in text for text in result.warnings)


def test_a_query_that_names_a_side_is_not_mirrored(predictor, draws_what_is_bright, blind):
    blind(None)
    predictor.segment_volume(noise_volume(*EVEN), "Segment the left lung.")
    assert {mirrored for _, mirrored in draws_what_is_bright} == {(False, False)}


@pytest.mark.parametrize(
    ("case", "axis", "planes"),
    [
        (noise_volume((12, 14, 16), (1.0, 1.0, 3.0)), "auto", 1),
        (noise_volume((12, 14, 16), (1.0, 1.0, 3.0)), "all", 3),
        (noise_volume((12, 14, 16), (1.0, 1.0, 1.0)), "auto", 3),
        (noise_volume((12, 14, 16), (1.0, 1.0, 1.0)), "k", 1),
        (noise_volume((12, 14, FEW_SLICES), (1.0, 1.0, 1.0)), "auto", 1),
    ],
)
def test_small_volumes_of_even_spacing_are_looked_at_from_all_sides(
    predictor, blind, case, axis, planes
):
    blind(None)
    result = predictor.segment_volume(case, QUERY, SliceOptions(axis=axis))
    assert len(result.planes) == planes
    assert len(result.slices) == result.view.count


def test_a_volume_that_shows_nothing_has_no_mask(predictor):
    air = np.full((20, 22, 24), -1000, np.int16)
    air[3, 4, 5] = -900
    result = predictor.segment_volume(VolumeCase(air, noise_volume(*EVEN).geometry), QUERY)
    assert not result.mask.any() and len(result.planes) == 1
    assert all(score.presence is None for score in result.slices)


def test_stopping_keeps_the_planes_that_were_finished(predictor, draws_what_is_bright, blind):
    blind(None)
    case, ball = ball_volume()

    def stop(step):
        if step.fraction > 0.4:
            raise StopAndKeepError

    predictor.progress = stop
    result = predictor.segment_volume(case, QUERY)
    assert not result.is_complete and overlap(result.mask, ball) > 0.9
    assert any("1 of 3 planes were looked at" in text for text in result.warnings)


def test_fractions_never_fall(predictor, blind):
    blind(None)
    fractions = []
    predictor.progress = lambda step: fractions.append(step.fraction)
    predictor.segment_volume(noise_volume(*EVEN), QUERY)
    assert fractions == sorted(fractions) and fractions[0] >= 0 and fractions[-1] <= 1
    assert len(fractions) > 10


def test_a_model_that_reasons_first_cannot_read_volumes(predictor, monkeypatch):
    later = dataclasses.replace(predictor.model.config, seg_after_reasoning=True)
    monkeypatch.setattr(predictor.model, "config", later)
    with pytest.raises(Sim4SegError, match="after its reasoning"):
        predictor.segment_volume(noise_volume(), QUERY)


@given(
    arrays(np.float16, (3, 4, 5), elements=st.floats(-3, 3, width=16)),
    st.lists(st.floats(-3, 3, width=16), min_size=1, max_size=3),
)
def test_agreeing_votes_are_their_own_consensus(vote, levels):
    found = consensus([vote] * len(levels))
    assert found == pytest.approx(vote.astype(np.float32), abs=1e-2)
    assert np.isfinite(consensus([np.full_like(vote, level) for level in levels])).all()


@given(st.permutations(range(3)))
def test_votes_count_alike_in_any_order(order):
    votes = [np.random.default_rng(n).uniform(-3, 3, (4, 4, 4)).astype(np.float16) for n in order]
    expected = consensus(
        [np.random.default_rng(n).uniform(-3, 3, (4, 4, 4)).astype(np.float16) for n in range(3)]
    )
    assert consensus(votes) == pytest.approx(expected, abs=1e-5)
