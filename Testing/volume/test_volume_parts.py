"""Windows, consistency along the stack, cleaning, measuring and key slices, each on its own."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stacks import noise_volume

from Sim4SegCore import Diagnosis, Geometry, Sim4SegError
from Sim4SegCore.volume import KeySlice, VolumeCase
from Sim4SegCore.volume.cleaning import clean
from Sim4SegCore.volume.consistency import (
    followed_slices,
    smooth_along_stack,
    smooth_masks,
    thinned,
)
from Sim4SegCore.volume.key_slices import choose_key_slices, scout_numbers, shared_diagnosis
from Sim4SegCore.volume.measuring import measure_volume
from Sim4SegCore.volume.windows import choose_window

GEOMETRY = Geometry((0.5, 2.0, 4.0), (0.0,) * 3, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))


def ct(**fields):
    hounsfield = np.linspace(-1000, 1500, 4 * 8 * 8).reshape(4, 8, 8).astype(np.int16)
    return VolumeCase(hounsfield, GEOMETRY, **fields)


# ------------------------------------------------------------------------------- windows


@pytest.mark.parametrize(
    ("query", "fields", "name", "low", "high"),
    [
        ("Is there a lung nodule?", {}, "CT lung (query)", -1350, 150),
        ("Is there a fracture?", {"body_part": "chest"}, "CT bone (query)", -500, 1300),
        ("Anything unusual?", {"body_part": "head"}, "CT brain (body part)", 0, 80),
        ("Anything unusual?", {"window": (30.0, 100.0)}, "the file's own", -20, 80),
        ("Anything unusual?", {}, "CT soft tissue", -160, 240),
        ("Segment the liver.", {"window": (30.0, 100.0)}, "CT liver (query)", -20, 140),
    ],
)
def test_ct_is_shown_as_the_question_wants_it(query, fields, name, low, high):
    window = choose_window(ct(modality="CT", **fields), query)
    assert (window.name, window.low, window.high) == (name, low, high)


def test_hounsfield_units_are_recognised_where_the_file_says_nothing():
    assert "taken for CT" in choose_window(ct(), "Is there a tumor?").name
    assert "percentiles" in choose_window(ct(modality="MR"), "Is there a tumor?").name


def test_mr_is_shown_between_percentiles_of_the_whole_volume():
    voxels = np.random.default_rng(0).normal(300, 50, (6, 40, 40)).astype(np.float32)
    voxels[0, 0, 0] = 1e6
    window = choose_window(VolumeCase(voxels, GEOMETRY, modality="MR"), "Is there a tumor?")
    assert 100 < window.low < 250 and 380 < window.high < 520
    assert window.to_uint8(voxels).max() == 255 and window.to_uint8(voxels).min() == 0


def test_a_few_bright_voxels_on_an_even_ground_are_seen():
    voxels = np.zeros((8, 40, 40), np.int16)
    voxels[4, 4:6, 4:6] = 500
    window = choose_window(VolumeCase(voxels, GEOMETRY), "Is there a tumor?")
    assert window.to_uint8(voxels)[4, 4, 4] == 255


def test_8_bit_volumes_are_shown_as_stored():
    voxels = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)
    window = choose_window(VolumeCase(voxels, GEOMETRY), "Is there a tumor?")
    assert np.array_equal(window.to_uint8(voxels), voxels)


# ------------------------------------------------------------------------------- consistency


ALL_SEEN = torch.ones(9, dtype=torch.bool)


@given(st.sets(st.integers(0, 39)), st.sampled_from([0.5, 1.0, 2.0, 5.0]))
def test_slices_that_were_left_out_are_what_their_neighbours_say(worth_numbers, distance):
    worth = torch.zeros(40, dtype=torch.bool)
    worth[list(worth_numbers)] = True
    drawn = thinned(worth, distance)
    assert not (drawn & ~worth).any()
    if distance > 1.0:
        assert torch.equal(drawn, worth)
    rising = torch.arange(40.0)
    left_out = smooth_along_stack(torch.where(drawn, rising, -30.0), drawn, distance, worth)
    assert ((left_out - rising).abs()[worth] < 2.5).all()
    assert (left_out[~worth] == -30.0).all()


def test_smoothing_keeps_constants_and_leaves_thick_slices_alone():
    values = torch.rand(9, 4, 5)
    even = smooth_along_stack(torch.full((9, 4, 5), 0.3), ALL_SEEN, 1.0)
    assert torch.allclose(even, torch.tensor(0.3))
    assert torch.allclose(smooth_along_stack(values, ALL_SEEN, 20.0), values, atol=1e-6)
    smooth = smooth_along_stack(values, ALL_SEEN, 1.0)
    assert smooth.std(0).mean() < values.std(0).mean()
    assert smooth_along_stack(values[:2], ALL_SEEN[:2], 0.01).shape == (2, 4, 5)
    peak = torch.zeros(9)
    peak[4] = 1
    spread = smooth_along_stack(peak, ALL_SEEN, 1.0)
    assert torch.allclose(spread, spread.flip(0)) and spread.argmax() == 4


def test_slices_that_were_not_seen_do_not_blur_their_neighbours():
    values = torch.full((9,), 0.8)
    values[4:] = -30.0
    smooth = smooth_along_stack(values, values > 0, 1.0)
    assert torch.allclose(smooth, values)


def test_a_slice_that_is_sure_of_nothing_does_not_outvote_those_that_see_the_target():
    logits = torch.full((9, 2, 2), 2.0)
    logits[4] = -25.0
    everywhere = smooth_masks(logits, ALL_SEEN, ALL_SEEN, 1.0)
    assert (everywhere > 0).all()
    assert (everywhere[4] < everywhere[0]).all()


def squares(*columns):
    masks = torch.zeros(len(columns), 12, 12, dtype=torch.bool)
    for number, column in enumerate(columns):
        if column is not None:
            masks[number, 3:6, column : column + 3] = True
    return masks


def test_masks_are_followed_both_ways_until_presence_or_overlap_ends():
    presence = torch.tensor([0.1, 0.45, 0.5, 0.9, 0.5, 0.1, 0.5])
    taken = followed_slices(presence, squares(0, 0, 0, 0, 1, 1, 1), threshold=0.5)
    assert taken.tolist() == [False, True, True, True, True, False, False]
    elsewhere = followed_slices(presence, squares(0, 0, 6, 0, 1, 1, 1), threshold=0.5)
    assert elsewhere.tolist() == [False, False, False, True, True, False, False]


def test_presence_without_a_mask_and_a_mask_without_presence_are_nothing():
    assert not followed_slices(torch.tensor([0.9, 0.9]), squares(None, None), 0.5).any()
    assert not followed_slices(torch.tensor([0.4, 0.4]), squares(1, 1), 0.5).any()


def test_a_slice_is_measured_by_the_surest_one():
    presence = torch.tensor([0.95, 0.2, 0.4, 0.95])
    apart = followed_slices(presence, squares(0, 6, 0, 6), threshold=0.1)
    assert apart.tolist() == [True, False, False, True]
    faint = followed_slices(presence[1:3], squares(0, 0), threshold=0.1)
    assert faint.tolist() == [True, True]


# ------------------------------------------------------------------------------- cleaning


def test_small_islands_go_holes_are_filled_and_both_are_counted():
    mask = np.zeros((8, 20, 20), bool)
    mask[1:7, 2:12, 2:12] = True
    mask[3, 5, 5] = False
    mask[3, 17:19, 17] = True
    cleaning = clean(mask)
    assert (cleaning.islands_removed, cleaning.island_voxels) == (1, 2)
    assert (cleaning.hole_voxels, cleaning.parts) == (1, 1)
    assert mask.sum() == 600 and not mask[3, 17, 17]


def test_parts_of_similar_size_and_tunnels_stay():
    mask = np.zeros((6, 20, 20), bool)
    mask[:, 2:8, 2:8] = mask[:, 12:18, 12:18] = True
    mask[:, 4, 4] = False  # open at both ends
    before = mask.copy()
    cleaning = clean(mask)
    assert np.array_equal(mask, before)
    assert (cleaning.islands_removed, cleaning.hole_voxels, cleaning.parts) == (0, 0, 2)


def test_an_empty_mask_stays_empty():
    mask = np.zeros((3, 4, 5), bool)
    assert clean(mask).parts == 0 and not mask.any()


# ------------------------------------------------------------------------------- measuring


def test_volume_and_diameter_of_a_block():
    case = noise_volume((6, 40, 50), GEOMETRY.spacing)
    mask = np.zeros(case.shape, bool)
    mask[1:4, 10:15, 20:40] = True
    measured = measure_volume(mask, case, parts=1)
    assert measured["volume_mm3"] == pytest.approx(300 * 4.0)
    assert measured["volume_ml"] == pytest.approx(1.2)
    diagonal = np.linalg.norm([20 * 0.5, 5 * 2.0, 3 * 4.0])
    assert measured["longest_diameter_mm"] == pytest.approx(diagonal, rel=1e-3)
    assert measured["intensity_mean"] == pytest.approx(case.voxels[mask].mean())


def test_the_longest_diameter_of_any_shape_is_almost_exact():
    rng = np.random.default_rng(1)
    case = noise_volume((10, 30, 30), (0.7, 0.9, 3.0))
    for _ in range(5):
        mask = np.zeros(case.shape, bool)
        mask[tuple(rng.integers(0, case.shape, (12, 3)).T)] = True
        k, j, i = np.nonzero(mask)
        steps = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1]), -1).reshape(-1, 3)
        corners = (np.stack([i, j, k], 1)[:, None] + steps).reshape(-1, 3) * case.geometry.spacing
        exact = np.linalg.norm(corners[:, None] - corners[None], axis=-1).max()
        found = measure_volume(mask, case, parts=1)["longest_diameter_mm"]
        assert 0.999 * exact <= found <= exact * (1 + 1e-9)


def test_an_empty_mask_has_no_diameter():
    case = noise_volume()
    measured = measure_volume(np.zeros(case.shape, bool), case, parts=0)
    assert measured["volume_ml"] == 0 and "longest_diameter_mm" not in measured


def test_a_mask_of_another_shape_is_a_defect():
    with pytest.raises(ValueError, match="does not fit"):
        measure_volume(np.zeros((2, 2, 2), bool), noise_volume(), parts=0)


# ------------------------------------------------------------------------------- key slices


def test_scouts_are_spread_over_what_is_worth_looking_at():
    assert scout_numbers(list(range(10, 60)), 5) == [15, 25, 35, 45, 55]
    assert scout_numbers([3, 4], 5) == [3, 4]
    assert scout_numbers([], 5) == []


def test_key_slices_are_large_sure_and_apart():
    presence = np.full(20, 0.8)
    areas = np.zeros(20)
    areas[4:16] = [10, 20, 50, 60, 55, 40, 30, 20, 10, 10, 10, 10]
    chosen = choose_key_slices(presence, areas, list(range(20)), 3)
    assert [key.number for key in chosen] == [7, 10, 4]
    assert chosen[0].reason.startswith("largest mask")
    assert all(areas[key.number] for key in chosen)


def test_without_a_mask_the_likeliest_and_the_middle_slice_speak():
    presence = np.zeros(9)
    presence[2] = 0.3
    chosen = choose_key_slices(presence, np.zeros(9), list(range(9)), 3)
    assert [key.number for key in chosen] == [2, 4]
    assert choose_key_slices(presence, np.zeros(9), [], 3) == []


def key_slice(index, weight, label, confidence, *alternatives):
    return KeySlice(index, "", weight, Diagnosis(label, confidence, alternatives), f"says {label}")


def test_diagnoses_are_weighted_and_the_reasoning_is_of_who_names_it():
    diagnosis, reasoning = shared_diagnosis(
        [
            key_slice(7, 0.5, "glioma", 0.6, ("meningioma", 0.3)),
            key_slice(3, 0.3, "meningioma", 0.9, ("glioma", 0.1)),
            key_slice(9, 0.2, "meningioma", 0.8, ("glioma", 0.1)),
        ],
        abstain_below=0.5,
    )
    assert not diagnosis.uncertain
    assert diagnosis.label == "meningioma"
    assert diagnosis.confidence == pytest.approx(0.5 * 0.3 + 0.3 * 0.9 + 0.2 * 0.8)
    assert diagnosis.alternatives[0] == ("glioma", pytest.approx(0.35))
    assert reasoning == "says meningioma"


def test_an_answer_that_names_nothing_counts_too():
    diagnosis, _ = shared_diagnosis(
        [key_slice(1, 0.9, None, 0.7, ("glioma", 0.2)), key_slice(2, 0.1, "glioma", 0.9)],
        abstain_below=0.9,
    )
    assert diagnosis.label is None and diagnosis.confidence == pytest.approx(0.63)
    assert not diagnosis.uncertain
    assert shared_diagnosis([], 0.5)[0].label is None


def test_slices_that_are_sure_but_disagree_make_an_uncertain_diagnosis():
    sure = [key_slice(1, 0.5, "glioma", 0.9), key_slice(2, 0.5, "meningioma", 0.9)]
    assert shared_diagnosis(sure, abstain_below=0.5)[0].uncertain
    assert not shared_diagnosis(sure, abstain_below=0.4)[0].uncertain


# ------------------------------------------------------------------------------- the case


@pytest.mark.parametrize(
    ("voxels", "word"),
    [
        (np.zeros((4, 5), np.int16), "volume"),
        (np.zeros((1, 5, 6), np.int16), "one slice"),
        (np.zeros((3, 5, 6, 3), np.int16), "RGB"),
        (np.zeros((3, 5, 6), np.int16), "same value"),
        (np.full((3, 5, 6), np.nan), "NaN"),
        (np.arange(90).reshape(3, 5, 6) * 1j, "real numbers"),
    ],
)
def test_arrays_that_are_no_volume_are_refused(voxels, word):
    with pytest.raises(Sim4SegError, match=word):
        VolumeCase(voxels, GEOMETRY)


@pytest.mark.parametrize(
    ("spacing", "direction", "word"),
    [
        ((1.0, 0.0, 1.0), GEOMETRY.direction, "spacing"),
        ((1.0, np.nan, 1.0), GEOMETRY.direction, "spacing"),
        ((1.0, 1.0, 1.0), (1.0, 0.5, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0), "sheared"),
        ((1.0, 1.0, 1.0), (2.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 2.0), "sheared"),
    ],
)
def test_geometries_of_no_use_are_refused(spacing, direction, word):
    with pytest.raises(Sim4SegError, match=word):
        VolumeCase(np.arange(60).reshape(3, 4, 5), Geometry(spacing, (0.0,) * 3, direction))
