"""Volumetric inference with tiny networks: geometry, windows, memory; not quality."""

import contextlib
import dataclasses
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stacks import IDENTITY, STORED, marked_places, noise_volume, places, stored_anew
from tiny import compact_model
from tiny_volumetric import BrightNetwork, Given, Hears, RandomNetwork

from Sim4SegCore import Geometry, ModelIdentity, Sim4Seg, Sim4SegError
from Sim4SegCore.progress import StopAndKeepError
from Sim4SegCore.volume import SliceOptions, VolumeCase, window_looking
from Sim4SegCore.volume.tiles import AxisTiles

QUERY = "Is there a polyp? Segment it."
VOLUME = SliceOptions(mode="volume", scouts=2, key_slices=1)


@pytest.fixture(scope="module")
def tiny():
    torch.set_num_threads(1)
    return compact_model(presence_threshold=0.1, mask_threshold=0.49)


def asked_with(model, network):
    model.volumetric = Given(network)
    return Sim4Seg(model, ModelIdentity("tiny", "0", "0"))


@pytest.fixture
def predictor(tiny):
    return asked_with(tiny, RandomNetwork(tiny.lvlm.hidden_size))


@pytest.fixture
def bright(tiny):
    return asked_with(tiny, BrightNetwork(tiny.lvlm.hidden_size))


@pytest.fixture(scope="module")
def reference(tiny):
    predictor = asked_with(tiny, RandomNetwork(tiny.lvlm.hidden_size))
    return predictor.segment_volume(noise_volume(), QUERY, VOLUME)


def ball(spacing, shape, direction=IDENTITY, radius=14.0):
    """A bright ball around a known point of the patient; where it lies does not depend on how
    the volume is stored.
    """
    geometry = Geometry(spacing, (-31.0, 17.0, 240.0), direction)
    k, j, i = np.meshgrid(*map(np.arange, shape), indexing="ij")
    at = places(geometry, np.stack([i, j, k], -1).reshape(-1, 3).astype(float))
    middle = places(geometry, (np.array(shape[::-1])[None] - 1) / 2 + [[1.3, -2.1, 0.4]])[0]
    inside = np.linalg.norm(at - middle, axis=1).reshape(shape) < radius
    noise = np.random.default_rng(1).normal(0, 8, shape)
    return VolumeCase((200 + 600 * inside + noise).astype(np.int16), geometry), inside, middle


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


# ------------------------------------------------------------------------------------ geometry


@pytest.mark.parametrize(
    ("order", "is_reversed"),
    [
        *[((0, 1, 2), flips) for order, flips in STORED if order == (0, 1, 2)],
        ((0, 2, 1), (False, True, False)),
        ((1, 2, 0), (True, False, True)),
        ((2, 0, 1), (True, True, True)),
        ((1, 0, 2), (False, False, True)),
    ],
)
def test_the_same_anatomy_is_marked_in_3d_however_the_volume_is_stored(
    predictor, reference, order, is_reversed
):
    anew = stored_anew(noise_volume(), order, is_reversed)
    result = predictor.segment_volume(anew, QUERY, VOLUME)
    assert result.mask.shape == anew.shape and result.mask.any() and not result.mask.all()
    expected = marked_places(reference.mask, reference.case.geometry)
    assert np.allclose(marked_places(result.mask, anew.geometry), expected, atol=0.01)
    assert result.findings[0].confidence == pytest.approx(reference.findings[0].confidence)


def oblique(degrees):
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return (c, -s, 0.0, s, c, 0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("spacing", "shape", "direction", "least"),
    [
        ((2.0, 2.0, 2.0), (30, 34, 38), IDENTITY, 0.99),
        ((0.8, 0.8, 2.5), (24, 70, 60), (-1, 0, 0, 0, -1, 0, 0, 0, 1), 0.95),
        ((0.6, 0.6, 6.0), (12, 90, 100), IDENTITY, 0.9),
        ((6.0, 0.6, 0.6), (80, 80, 12), (0, 0, -1, 1, 0, 0, 0, -1, 0), 0.9),
        ((1.5, 1.5, 4.0), (16, 40, 44), oblique(11), 0.93),
        ((5.0, 5.0, 5.0), (14, 13, 15), (1, 0, 0, 0, -1, 0, 0, 0, -1), 0.9),
    ],
    ids=["isotropic", "anisotropic", "1:10", "10:1 along i", "oblique", "coarse"],
)
def test_masks_lie_on_the_anatomy_in_the_patient_s_coordinates(
    bright, spacing, shape, direction, least
):
    case, inside, middle = ball(spacing, shape, direction)
    result = bright.segment_volume(case, QUERY, VOLUME)
    assert dice(result.mask, inside) > least
    centre = marked_places(result.mask, case.geometry).mean(0)
    assert np.linalg.norm(centre - middle) < 0.35 * max(spacing)
    shapes = bright.model.volumetric.network(bright.model).shapes
    assert all(d <= 16 and h <= 24 and w <= 16 for *_, d, h, w in shapes)


def test_a_scan_smaller_than_a_window_is_seen_once(bright):
    case, inside, _ = ball((2.0, 2.0, 2.0), (9, 11, 10), radius=6)
    result = bright.segment_volume(case, QUERY, VOLUME)
    assert dice(result.mask, inside) > 0.97
    shapes = bright.model.volumetric.network(bright.model).shapes
    assert shapes == [(1, 1, 16, 16, 16)]


@given(
    size=st.integers(1, 400),
    largest=st.integers(1, 12).map(lambda n: 8 * n),
    overlap=st.floats(0, 0.75),
)
@settings(max_examples=200, deadline=None)
def test_windows_cover_every_place_and_their_weights_sum_to_one(size, largest, overlap):
    tiles = AxisTiles.of(size, largest, overlap)
    total = np.zeros(size)
    for number in range(len(tiles.starts)):
        inside = tiles.inside(number)
        assert 0 <= inside.start < inside.stop <= size
        total[inside] += tiles.weights[number][: inside.stop - inside.start]
    assert np.allclose(total, 1, atol=1e-5)
    assert tiles.side % 8 == 0 and tiles.side <= max(largest, 8)
    assert list(tiles.starts) == sorted(set(tiles.starts))
    assert all(
        b - a <= max(1, math.ceil(tiles.side * (1 - overlap))) for a, b in pairwise(tiles.starts)
    )


def test_batches_of_any_size_give_the_same_in_3d(predictor, reference):
    for batch in (1, 3, 50):
        options = dataclasses.replace(VOLUME, batch=batch)
        result = predictor.segment_volume(noise_volume(), QUERY, options)
        assert np.mean(result.mask != reference.mask) < 5e-3


def test_bfloat16_windows_agree_with_full_precision(predictor, reference, monkeypatch):
    monkeypatch.setattr(window_looking, "fast_precision", lambda _: contextlib.nullcontext())
    result = predictor.segment_volume(noise_volume(), QUERY, VOLUME)
    assert dice(result.mask, reference.mask) > 0.98
    sure, expected = (one.findings[0].confidence for one in (result, reference))
    assert sure == pytest.approx(expected, abs=0.02)


# ---------------------------------------------------------------------------- result, refusals


def test_a_volumetric_result_is_consistent(reference):
    assert reference.mode == "volume" and reference.is_complete
    assert set(reference.timing) == {"query", "windows", "masks", "answer"}
    assert reference.findings[0].measurements["voxels"] == reference.mask.sum() > 0
    assert [score.index for score in reference.slices] == list(range(6))
    highest = max(score.presence for score in reference.slices)
    assert highest == pytest.approx(reference.findings[0].confidence)
    assert len(reference.key_slices) == 1


def test_a_scan_in_which_no_window_has_the_target_has_no_mask(tiny, monkeypatch):
    network = BrightNetwork(tiny.lvlm.hidden_size)
    monkeypatch.setattr(network, "least_light", 2.0)
    result = asked_with(tiny, network).segment_volume(noise_volume(), QUERY, VOLUME)
    assert result.findings[0].confidence < 0.01
    assert not result.mask.any() and not result.findings[0].present


def test_a_query_for_something_else_finds_nothing_and_says_why(tiny):
    network = BrightNetwork(tiny.lvlm.hidden_size)
    network.reader = Hears(network.prototypes[-1])
    result = asked_with(tiny, network).segment_volume(noise_volume(), QUERY, VOLUME)
    assert not result.findings[0].present and result.findings[0].label == "finding"
    assert "was taught polyp; the query seems to ask for something else" in result.warnings[0]


def test_a_checkpoint_without_the_network_refuses_in_one_sentence(tiny):
    tiny.volumetric = None
    predictor = Sim4Seg(tiny, ModelIdentity("small", "0", "0"))
    with pytest.raises(Sim4SegError, match="small has no volumetric network; use --mode slices"):
        predictor.segment_volume(noise_volume(), QUERY, VOLUME)


def test_colour_volumes_are_refused(predictor):
    colours = np.random.default_rng(0).integers(0, 255, (3, 20, 30, 3), dtype=np.uint8)
    with pytest.raises(Sim4SegError, match="grey"):
        predictor.segment_volume(VolumeCase(colours, noise_volume().geometry), QUERY, VOLUME)


def test_unknown_modes_are_refused():
    with pytest.raises(Sim4SegError, match="unknown mode 'cubes'"):
        SliceOptions(mode="cubes")


# ------------------------------------------------------------------- progress, cancel, memory


def test_fractions_never_fall_in_3d(predictor):
    steps = []
    predictor.progress = steps.append
    predictor.segment_volume(noise_volume(), QUERY, dataclasses.replace(VOLUME, batch=1))
    fractions = [step.fraction for step in steps]
    assert fractions == sorted(fractions) and fractions[0] == 0 and fractions[-1] < 1
    assert len(set(fractions)) > 5 and predictor.progress == steps.append


@pytest.mark.parametrize("share", [-1.0, 0.3])
def test_stopping_early_keeps_the_windows_that_were_looked_at(bright, share):
    case, inside, _ = ball((2.0, 2.0, 2.0), (60, 34, 38), radius=25)

    def stop(step):
        if step.fraction > share:
            raise StopAndKeepError

    bright.progress = stop
    result = bright.segment_volume(case, QUERY, dataclasses.replace(VOLUME, batch=1))
    assert not result.is_complete and result.key_slices == ()
    assert "windows were looked at" in result.warnings[-1]
    assert result.mask.any() == (share > 0)
    assert not (result.mask & ~inside).any()
    assert result.slices[-1].presence is None and not result.mask[-10:].any()


def test_short_memory_makes_batches_of_windows_smaller(bright, monkeypatch):
    case, inside, _ = ball((2.0, 2.0, 2.0), (30, 34, 38))
    network = bright.model.volumetric.network(bright.model)
    forward = network.forward

    def hungry(windows, query):
        if len(windows) > 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        return forward(windows, query)

    monkeypatch.setattr(network, "forward", hungry)
    result = bright.segment_volume(case, QUERY, dataclasses.replace(VOLUME, batch=4))
    assert dice(result.mask, inside) > 0.99
    assert any("2 windows at a time" in warning for warning in result.warnings)
    assert any("1 windows at a time" in warning for warning in result.warnings)


def test_no_memory_for_one_window_is_one_sentence(bright, monkeypatch):
    def starved(windows, query):
        raise MemoryError

    network = bright.model.volumetric.network(bright.model)
    monkeypatch.setattr(network, "forward", starved)
    with pytest.raises(Sim4SegError, match="not enough memory"):
        bright.segment_volume(noise_volume(), QUERY, VOLUME)
