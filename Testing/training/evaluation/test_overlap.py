"""Masks whose overlap and surfaces are known by hand."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis.extra.numpy import arrays
from monai.metrics import compute_hausdorff_distance, compute_surface_dice

from training.evaluation.overlap import NSD_TOLERANCE, iou, measure_overlap

MASKS = arrays(bool, (12, 9))


def square(size, top, left, side):
    mask = np.zeros(size, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_a_shifted_square_by_hand():
    # 10 x 10 against itself 4 to the right: 60 pixels in both, 140 in either.
    overlap = measure_overlap(square((40, 60), 10, 10, 10), square((40, 60), 10, 14, 10))
    assert (overlap.intersection, overlap.union) == (60, 140)
    assert overlap.iou == pytest.approx(60 / 140)
    assert overlap.dice == pytest.approx(120 / 200)
    assert overlap.hd95 == pytest.approx(4.0)
    # Of the 36 outline pixels of the first, farther than 2 are: its left side (10), one column
    # more of its top and bottom (2), and of its right side, inside the other, the middle four.
    assert overlap.nsd == pytest.approx(1 - (10 + 2 + 4) / 36)


def test_a_shift_within_the_tolerance_meets_the_whole_surface():
    overlap = measure_overlap(square((40, 40), 10, 10, 12), square((40, 40), 10, 12, 12))
    assert overlap.nsd == 1.0
    assert overlap.hd95 == pytest.approx(NSD_TOLERANCE)


def test_concentric_squares_are_apart_by_their_margin():
    overlap = measure_overlap(square((60, 60), 20, 20, 10), square((60, 60), 10, 10, 30))
    assert overlap.nsd == 0.0
    # From the outer corner to the inner one it is 10 diagonal steps, from edges 10 straight ones.
    assert 10 <= overlap.hd95 <= 10 * 2**0.5 + 1e-4


def test_a_perfect_mask():
    truth = square((30, 30), 3, 4, 11)
    overlap = measure_overlap(truth, truth)
    assert (overlap.iou, overlap.dice, overlap.nsd, overlap.hd95) == (1, 1, 1, 0)


@pytest.mark.parametrize("missed", [True, False])
def test_one_empty_mask_scores_worst(missed):
    full, empty = square((30, 40), 3, 4, 11), np.zeros((30, 40), bool)
    overlap = measure_overlap(empty, full) if missed else measure_overlap(full, empty)
    assert (overlap.iou, overlap.dice, overlap.nsd) == (0, 0, 0)
    assert overlap.hd95 == pytest.approx(50.0)


def test_two_empty_masks_agree():
    empty = np.zeros((5, 5), bool)
    overlap = measure_overlap(empty, empty)
    assert (overlap.iou, overlap.dice, overlap.nsd, overlap.hd95) == (1, 1, 1, 0)


def test_sizes_must_match():
    with pytest.raises(ValueError, match="differ in size"):
        measure_overlap(np.zeros((4, 5), bool), np.zeros((5, 4), bool))


@given(MASKS, MASKS)
def test_dice_follows_from_iou(mask, truth):
    overlap = measure_overlap(mask, truth)
    assert overlap.dice == pytest.approx(2 * overlap.iou / (1 + overlap.iou))
    assert overlap.iou == pytest.approx(iou(mask, truth))


@given(MASKS, MASKS)
def test_both_directions_count_alike(mask, truth):
    there, back = measure_overlap(mask, truth), measure_overlap(truth, mask)
    assert there.nsd == pytest.approx(back.nsd)
    assert there.hd95 == pytest.approx(back.hd95)


@given(MASKS, MASKS)
def test_the_box_changes_nothing(mask, truth):
    if not mask.any() or not truth.any():
        return
    whole = [torch.from_numpy(np.pad(m, 5))[None, None] for m in (mask, truth)]
    overlap = measure_overlap(mask, truth)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        nsd = compute_surface_dice(*whole, [NSD_TOLERANCE], include_background=True)
        hd95 = compute_hausdorff_distance(*whole, include_background=True, percentile=95)
    assert overlap.nsd == pytest.approx(float(nsd))
    assert overlap.hd95 == pytest.approx(float(hd95))


@given(MASKS, MASKS)
def test_nothing_drawn_is_farther_off_than_a_missed_target(mask, truth):
    overlap = measure_overlap(mask, truth)
    assert 0 <= overlap.hd95 <= overlap.diagonal
    assert 0 <= overlap.nsd <= 1
