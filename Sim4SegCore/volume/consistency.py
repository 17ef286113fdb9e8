"""Slices that were segmented on their own, made to agree with their neighbours."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

SMOOTHING_MM = 2.0
MAX_SMOOTHING_SLICES = 2.0
CONVINCING = 0.6
"""A slice convinces by itself if it is at least this share as sure as the surest one."""
FADING = 0.8
"""Beyond convincing slices, the target is followed down to this share of that presence."""
LOUDEST = 3.0
"""Most that a slice's logit counts for or against a pixel of its neighbours: one that is entirely
sure of nothing would outvote several that see the target."""


def smooth_along_stack(
    values: Tensor, is_known: Tensor, slice_distance: float, wanted: Tensor | None = None
) -> Tensor:
    """Gaussian mean over neighbouring slices that are known; thick slices hardly change.

    Args:
        values: (N, ...) per slice.
        is_known: bool (N,); the values of other slices count for nothing.
        slice_distance: mm between slices.
        wanted: bool (N,), slices that get the mean, if any of its slices is known; None for the
            known ones. The others stay as they are.

    Returns:
        float32 of the same shape.
    """
    places = torch.arange(len(values))
    apart = (places[:, None] - places).abs()
    weights = torch.exp(-0.5 * (apart / _sigma(slice_distance)) ** 2) * is_known
    weights *= apart <= smoothing_reach(slice_distance)
    sums = weights.sum(1)
    changed = (is_known if wanted is None else wanted) & (sums > 0)
    shares = (weights[changed] / sums[changed, None])[:, is_known]
    smooth = values.to(torch.float32, copy=True)
    smooth[changed] = torch.tensordot(shares, smooth[is_known], dims=1)
    return smooth


def smooth_masks(logits: Tensor, is_drawn: Tensor, wanted: Tensor, slice_distance: float) -> Tensor:
    """`smooth_along_stack` of mask logits (N, P, P), of which none counts more than LOUDEST."""
    bounded = logits.clamp(-LOUDEST, LOUDEST)
    return smooth_along_stack(bounded, is_drawn, slice_distance, wanted)


def smoothing_reach(slice_distance: float) -> int:
    """How many slices to each side count in `smooth_along_stack`."""
    return math.ceil(2 * _sigma(slice_distance))


def _sigma(slice_distance: float) -> float:
    return min(SMOOTHING_MM / slice_distance, MAX_SMOOTHING_SLICES)


def worth_drawing(
    presence: Tensor, is_seen: Tensor, slice_distance: float, threshold: float
) -> Tensor:
    """Slices whose masks can matter: those that `followed_slices` may take, whatever they show,
    and those that are averaged with them.

    Args:
        presence: (N,) probabilities, not smoothed.
        is_seen: bool (N,), whether presence is known.
        slice_distance: mm between slices.
        threshold: as of `followed_slices`.

    Returns:
        bool (N,).
    """
    smooth = smooth_along_stack(presence, is_seen, slice_distance)
    possible = ((smooth >= FADING * threshold) & is_seen).float()[None, None]
    reach = smoothing_reach(slice_distance)
    near = F.max_pool1d(possible, 2 * reach + 1, stride=1, padding=reach)
    return (near[0, 0] > 0) & is_seen


def thinned(worth: Tensor, slice_distance: float) -> Tensor:
    """Of slices that are worth drawing those that are enough to know the others by.

    `smooth_along_stack` leaves nothing of what is finer than its sigma: where that is two slices,
    every other one, and both ends of each stretch.

    Args:
        worth: bool (N,).

    Returns:
        bool (N,).
    """
    stride = int(_sigma(slice_distance))
    if stride < 2:
        return worth
    outside = F.pad(~worth, (1, 1), value=True)
    is_end = outside[:-2] | outside[2:]
    return worth & (is_end | (torch.arange(len(worth)) % stride == 0))


def followed_slices(presence: Tensor, masks: Tensor, threshold: float) -> Tensor:
    """Slices that hold the target.

    Convincing slices are taken, measured by the surest one: a threshold that keeps faint targets
    of single images would take every slice of a volume with a plain one. From each the mask is
    followed in both directions, as long as the next slice's mask overlaps it and its presence is
    at least half convincing.

    Args:
        presence: (N,) probabilities.
        masks: bool (N, P, P).
        threshold: below which nothing convinces by itself, however sure the others are.

    Returns:
        bool (N,).
    """
    has_mask = masks.flatten(1).any(1)
    convincing = max(threshold, CONVINCING * float(presence.max()))
    taken = (presence >= convincing) & has_mask
    may_follow = (presence >= FADING * convincing) & has_mask
    overlaps = (masks[1:] & masks[:-1]).flatten(1).any(1)
    for near, far in ((range(len(taken) - 1), 1), (range(len(taken) - 1, 0, -1), -1)):
        for number in near:
            beside = number + far
            if taken[number] and may_follow[beside] and overlaps[min(number, beside)]:
                taken[beside] = True
    return taken
