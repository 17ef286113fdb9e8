"""Slice-wise inference: a volume and a query go in, one result for the volume comes out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ..case import Finding, Query, Result
from ..frame import Frame
from ..progress import Progress, Step, StopAndKeepError
from .case import VolumeCase
from .cleaning import clean
from .consistency import followed_slices, smooth_along_stack
from .key_slices import Chosen, choose_key_slices, shared_diagnosis
from .looking import Looked, SliceLooker
from .measuring import measure_volume
from .options import SliceOptions
from .result import Cleaning, KeySlice, SliceScore, VolumeResult
from .slice_view import view_slices
from .slices import SlicePictures
from .windows import choose_window

if TYPE_CHECKING:
    from ..predictor import Sim4Seg

_T = TypeVar("_T")

UNNAMED_TARGET = "finding"
LOOKED, ANSWERED = 0.8, 0.95
"""Shares of the whole time after which all slices were looked at and key slices answered."""

_RESTORED_AT_ONCE = 8


def segment_slices(
    predictor: Sim4Seg, case: VolumeCase, query: str, options: SliceOptions | None = None
) -> VolumeResult:
    """Answer one query about a volume, slice by slice.

    Reports to `predictor.progress` between batches; what that raises ends the work, and
    `StopAndKeepError` ends it with a result of the slices that were looked at. The image that was
    set before is set again afterwards.

    Raises:
        Sim4SegError: if the query is empty or too long, the axis unknown, or memory too small.
    """
    checked, options = Query(query), options or SliceOptions()
    kept_image, listener = predictor.encoded, predictor.progress
    try:
        return _SliceWise(predictor, case, checked, options, listener).run()
    finally:
        predictor.progress = listener
        predictor.encoded = kept_image


class _SliceWise:
    """One run over one volume."""

    def __init__(
        self,
        predictor: Sim4Seg,
        case: VolumeCase,
        query: Query,
        options: SliceOptions,
        listener: Progress,
    ) -> None:
        self._predictor = predictor
        self._case = case
        self._query = query
        self._options = options
        self._listener = listener
        self._view = view_slices(case.geometry, case.shape, options.axis)
        self._window = choose_window(case, query.text)
        self._pictures = SlicePictures(case, self._view, self._window)
        self._timing: dict[str, float] = {}

    def run(self) -> VolumeResult:
        looked = self._timed("slices", self._look)
        distance = self._view.spacing[0]
        presence = smooth_along_stack(looked.presence, looked.is_seen, distance)
        mask, cleaning = self._timed("masks", lambda: self._mask(looked, presence))
        areas = self._areas(mask)
        answered, was_stopped = self._timed("answer", lambda: self._answers(looked, areas))
        key_slices = tuple(key for key, _ in answered)
        diagnosis, reasoning = shared_diagnosis(key_slices)
        finding = self._finding([result for _, result in answered], presence, mask, cleaning)
        return VolumeResult(
            case=self._case,
            query=self._query,
            diagnosis=diagnosis,
            reasoning=reasoning,
            findings=(finding,),
            model=self._predictor.identity,
            view=self._view,
            window=self._window,
            slices=self._scores(looked, areas),
            key_slices=key_slices,
            cleaning=cleaning,
            is_complete=not was_stopped,
            timing=self._timing,
            warnings=self._warnings(looked, finding, key_slices, was_stopped),
        )

    def _timed(self, stage: str, work: Callable[[], _T]) -> _T:
        started = time.perf_counter()
        done = work()
        self._timing[stage] = time.perf_counter() - started
        return done

    def _look(self) -> Looked:
        def report(fraction: float) -> None:
            self._listener(Step("mask", LOOKED * fraction))

        looker = SliceLooker(
            self._predictor, self._pictures, self._query.text, report, self._options.batch
        )
        return looker.look(self._options.scouts)

    def _mask(self, looked: Looked, presence: torch.Tensor) -> tuple[NDArray[np.bool_], Cleaning]:
        """bool (k, j, i) on the volume's own voxels."""
        config = self._predictor.model.config
        distance = self._view.spacing[0]
        logits = smooth_along_stack(looked.mask_logits, looked.is_seen, distance)
        least = math.log(config.mask_threshold / (1 - config.mask_threshold))
        taken = followed_slices(presence, logits > least, config.presence_threshold)
        frame = self._pictures.frame(config.segmenter.image_size)
        mask = np.zeros(self._case.shape, dtype=bool)
        _paint(self._view.of(mask), logits, taken.nonzero()[:, 0], frame, least)
        return mask, clean(mask)

    def _areas(self, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        """mm² of the mask on each slice of the view."""
        _, down, across = self._view.spacing
        pixels = [np.count_nonzero(plane) for plane in self._view.of(mask)]
        return np.array(pixels, dtype=np.float64) * down * across

    def _answers(
        self, looked: Looked, areas: NDArray[np.float64]
    ) -> tuple[list[tuple[KeySlice, Result]], bool]:
        """The language model's answers on key slices, and whether it was stopped before the end."""
        answered: list[tuple[Chosen, Result]] = []
        was_stopped = looked.was_stopped
        chosen = choose_key_slices(
            looked.presence.double().numpy(), areas, looked.seen, self._options.key_slices
        )
        try:
            for done, key in enumerate(chosen if not was_stopped else ()):
                answered.append((key, self._ask(key.number, done / len(chosen))))
        except StopAndKeepError:
            was_stopped = True
        total = sum(key.weight for key, _ in answered)
        return [(self._key_slice(key, result, total), result) for key, result in answered], (
            was_stopped
        )

    def _ask(self, number: int, fraction: float) -> Result:
        reached = Step("answer", LOOKED + (ANSWERED - LOOKED) * fraction)
        self._predictor.progress = lambda step: self._listener(reached)
        return self._predictor.segment(self._pictures.case(number), self._query.text)

    def _key_slice(self, key: Chosen, result: Result, total: float) -> KeySlice:
        return KeySlice(
            index=self._view.index(key.number),
            reason=key.reason,
            weight=key.weight / total,
            diagnosis=result.diagnosis,
            reasoning=result.reasoning,
        )

    def _finding(
        self,
        results: list[Result],
        presence: torch.Tensor,
        mask: NDArray[np.bool_],
        cleaning: Cleaning,
    ) -> Finding:
        labels = [finding.label for result in results for finding in result.findings]
        return Finding(
            label=labels[0] if labels else UNNAMED_TARGET,
            present=bool(mask.any()),
            confidence=float(presence.max()),
            mask=mask,
            measurements=measure_volume(mask, self._case, cleaning.parts),
        )

    def _scores(self, looked: Looked, areas: NDArray[np.float64]) -> tuple[SliceScore, ...]:
        seen = set(looked.seen)
        scores = [
            SliceScore(
                index=self._view.index(number),
                presence=float(looked.presence[number]) if number in seen else None,
                area_mm2=float(areas[number]),
            )
            for number in range(len(areas))
        ]
        return tuple(sorted(scores, key=lambda score: score.index))

    def _warnings(
        self,
        looked: Looked,
        finding: Finding,
        key_slices: tuple[KeySlice, ...],
        was_stopped: bool,
    ) -> tuple[str, ...]:
        warnings = [*self._case.warnings, *looked.warnings]
        if was_stopped:
            warnings.append(
                f"it was stopped early: {len(looked.seen)} of {len(looked.worth_looking)} slices "
                f"were looked at and {len(key_slices)} were answered"
            )
        if len({key.diagnosis.label for key in key_slices}) > 1:
            named = "; ".join(f"{key.index}: {key.diagnosis.label}" for key in key_slices)
            warnings.append(f"the key slices do not agree on the diagnosis ({named})")
        if key_slices and finding.label != UNNAMED_TARGET and not _names(self._query, finding):
            warnings.append(
                f"the model understood the query to be about the {finding.label}, which it does "
                "not name; the mask may show something else"
            )
        if finding.present and key_slices and all(_says_absent(key) for key in key_slices):
            warnings.append("the reasoning says that nothing is visible, but a mask was found")
        return tuple(warnings)


def _paint(
    target: NDArray[np.bool_],
    logits: torch.Tensor,
    numbers: torch.Tensor,
    frame: Frame,
    least: float,
) -> None:
    """Masks of some slices onto their own pixels, a few at a time.

    Args:
        target: bool (N, H, W), written to.
        logits: (N, P, P) in the frame.
        least: logit above which a pixel belongs to the mask.
    """
    for part in numbers.split(_RESTORED_AT_ONCE):
        target[part.numpy()] = (frame.invert(logits[part, None])[:, 0] > least).numpy()


def _names(query: Query, finding: Finding) -> bool:
    """Whether the query has any word of the finding's label, in singular or plural."""
    asked = query.text.lower()
    return any(word.rstrip("s") in asked for word in finding.label.lower().split())


def _says_absent(key: KeySlice) -> bool:
    return " analyze the image: no " in key.reasoning
