"""Slices of all three planes vote: what is there is seen from every side, a mistake from one.

It takes three to six times as long as one plane, so that only small volumes with about even
spacings are looked at like this unasked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..case import Familiarity, Query
from ..modeling.familiarity import median_of
from ..progress import Progress, Step
from .case import VolumeCase
from .cleaning import clean
from .close_looking import CloseLook, CloseLooker
from .concluding import LOOKED, Concluder, FoundMask, Stopwatch
from .options import SliceOptions
from .result import Cleaning, VolumeResult
from .slice_view import ALL_PLANES, PLANES, SliceView, view_slices
from .slices import SlicePictures
from .windows import Window, choose_window

if TYPE_CHECKING:
    from ..predictor import Sim4Seg

EVEN = 1.5
"""Most that the coarsest spacing may be of the finest, for slices of all planes to look alike."""
FEW_SLICES = 200
ROUNDS = 2
"""Of weighing the planes; more change nothing that could be seen."""


def looks_along_all(case: VolumeCase, options: SliceOptions) -> bool:
    """Whether slices of all three planes are looked at."""
    spacing = case.geometry.spacing
    is_even = max(spacing) <= EVEN * min(spacing)
    is_small = sum(case.shape) <= FEW_SLICES
    return options.axis == ALL_PLANES or (options.axis == "auto" and is_even and is_small)


@dataclass
class Side:
    """One plane and what was seen on it, with warnings about memory."""

    view: SliceView
    look: CloseLook
    familiarity: Familiarity | None
    warnings: list[str]


class PlaneVoter:
    """Looks along all planes of one volume, the one that slices are counted along first."""

    def __init__(
        self,
        predictor: Sim4Seg,
        case: VolumeCase,
        query: Query,
        options: SliceOptions,
        window: Window,
        listener: Progress,
    ) -> None:
        self._predictor = predictor
        self._case = case
        self._query = query
        self._options = options
        self._window = window
        self._listener = listener

    def look(self) -> list[Side]:
        """Each plane, up to the first on which the target is not seen, or that was stopped."""
        first = view_slices(self._case.geometry, self._case.shape, self._options.axis).plane
        sides: list[Side] = []
        for plane in (first, *(other for other in PLANES if other != first)):
            sides.append(self._side(plane, len(sides)))
            if sides[-1].look.was_stopped or not sides[-1].look.shows_target:
                break
        return sides

    def _side(self, plane: str, done: int) -> Side:
        view = view_slices(self._case.geometry, self._case.shape, plane)

        def report(fraction: float) -> None:
            self._listener(Step("mask", LOOKED * (done + fraction) / len(PLANES)))

        pictures = SlicePictures(self._case, view, self._window)
        looker = CloseLooker(
            self._predictor, pictures, self._query.text, report, self._options.batch
        )
        look = looker.look_closely(self._options.scouts, not self._query.names_side)
        return Side(view, look, looker.familiarity, looker.warnings)


def segment_planes(
    predictor: Sim4Seg, case: VolumeCase, query: Query, options: SliceOptions, listener: Progress
) -> VolumeResult:
    """Slices of all three planes, put together voxel by voxel; see `segment_volume`."""
    window, watch = choose_window(case, query.text), Stopwatch()
    voter = PlaneVoter(predictor, case, query, options, window, listener)
    sides = watch.measure("slices", voter.look)
    memory = [warning for side in sides for warning in side.warnings]
    mask, cleaning = watch.measure("masks", lambda: _mask(predictor, case, sides))
    first = sides[0]
    stopped = None
    if sides[-1].look.was_stopped:
        stopped = f"{len(sides) - 1} of {len(PLANES)} planes were looked at"
    found = FoundMask(
        mask=mask,
        cleaning=cleaning,
        presence=first.look.known_presence,
        interpolated=first.look.interpolated,
        confidence=min(float(side.look.presence.max()) for side in sides),
        familiarity=median_of([side.familiarity for side in sides if side.familiarity is not None]),
        stopped=stopped,
        warnings=(*dict.fromkeys(memory), *_disagreement(sides)),
        planes=tuple(side.view.plane for side in sides),
    )
    return Concluder(predictor, case, query, options, first.view, window, listener).conclude(
        found, watch
    )


def _disagreement(sides: Sequence[Side]) -> list[str]:
    """A sentence if the target was seen on some planes alone."""
    last = sides[-1]
    seen = [side.view.plane for side in sides if side.look.shows_target]
    if not seen or last.look.was_stopped or last.look.shows_target:
        return []
    return [
        f"the target seems to be there in {' and '.join(seen)} slices, but not in "
        f"{last.view.plane} ones: no mask was made; to get one all the same, name the axis to "
        "look along"
    ]


def _mask(
    predictor: Sim4Seg, case: VolumeCase, sides: Sequence[Side]
) -> tuple[NDArray[np.bool_], Cleaning]:
    """bool (k, j, i) of the planes that were looked at, if the target is there on all of them."""
    finished = [side for side in sides if not side.look.was_stopped]
    if not finished or not all(side.look.shows_target for side in finished):
        return np.zeros(case.shape, dtype=bool), Cleaning()
    votes = [_on_voxels(side, case.shape) for side in finished]
    mask = consensus(votes) > predictor.model.config.mask_threshold_logit
    return mask, clean(mask)


def _on_voxels(side: Side, shape: tuple[int, int, int]) -> NDArray[np.float16]:
    logits = np.empty(shape, np.float16)
    side.view.of(logits)[:] = side.look.logits.numpy()
    return logits


def consensus(votes: Sequence[NDArray[np.floating]]) -> NDArray[np.float32]:
    """Weighted mean of bounded logits, each weighted by the Dice of its mask with the mean's.

    As in STAPLE (Warfield 2004), a rater counts as much as it agrees with what all agree on.

    Args:
        votes: of one shape, between -LOUDEST and LOUDEST.
    """
    weights = np.ones(len(votes))
    mean = _weighted(votes, weights)
    for _ in range(ROUNDS):
        agreement = np.array([_dice(vote > 0, mean > 0) for vote in votes])
        if not agreement.any():
            break
        mean = _weighted(votes, agreement)
    return mean


def _weighted(
    votes: Sequence[NDArray[np.floating]], weights: NDArray[np.float64]
) -> NDArray[np.float32]:
    total = np.zeros(votes[0].shape, np.float32)
    for vote, weight in zip(votes, weights / weights.sum(), strict=True):
        total += np.float32(weight) * vote
    return total


def _dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    marked = np.count_nonzero(one) + np.count_nonzero(other)
    return 2 * np.count_nonzero(one & other) / marked if marked else 1.0
