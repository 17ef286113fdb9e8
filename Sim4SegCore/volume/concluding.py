"""From a mask to a result, the same for every mode: key slices, diagnosis, finding, warnings."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..case import SIDES, Familiarity, Finding, Query, Result
from ..progress import Progress, Step, StopAndKeepError
from ..report.wording import OUTSIDE_DIAGNOSIS_WARNING, outside_warning
from ..scaling import with_familiarity
from .case import VolumeCase
from .key_slices import Chosen, choose_key_slices, shared_diagnosis
from .measuring import measure_volume
from .options import SliceOptions
from .result import Cleaning, KeySlice, SliceScore, VolumeResult
from .slice_view import SliceView
from .slices import SlicePictures
from .windows import Window

if TYPE_CHECKING:
    from ..predictor import Sim4Seg

_T = TypeVar("_T")

UNNAMED_TARGET = "finding"
LOOKED, ANSWERED = 0.8, 0.95
"""Shares of the whole time after which everything was looked at and key slices answered."""


@dataclass(frozen=True)
class FoundMask:
    """What a mode has found.

    Attributes:
        mask: bool (k, j, i).
        presence: (slices of the view,) probabilities; NaN where nothing was looked at.
        confidence: that the target is in the volume.
        interpolated: slices whose presence lies between those of their neighbours.
        familiarity: of the slices that were read.
        planes: whose slices were looked at; empty for the view's alone.
        label: of the target, if the mode knows it; else the language model names it.
        stopped: how far it came, as a clause, if it was stopped early.
        warnings: sentences about what was odd.
    """

    mask: NDArray[np.bool_]
    cleaning: Cleaning
    presence: NDArray[np.float64]
    confidence: float
    interpolated: frozenset[int] = frozenset()
    familiarity: Familiarity | None = None
    planes: tuple[str, ...] = ()
    label: str | None = None
    stopped: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def seen(self) -> list[int]:
        """Slices of the view that were looked at, ascending."""
        return np.flatnonzero(~np.isnan(self.presence)).tolist()


class Stopwatch:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.timing: dict[str, float] = {}

    def measure(self, stage: str, work: Callable[[], _T]) -> _T:
        """Do the work and note how long it took."""
        started = time.perf_counter()
        done = work()
        self.timing[stage] = time.perf_counter() - started
        return done


class Concluder:
    """Makes the result of one run over one volume."""

    def __init__(
        self,
        predictor: Sim4Seg,
        case: VolumeCase,
        query: Query,
        options: SliceOptions,
        view: SliceView,
        window: Window,
        listener: Progress,
    ) -> None:
        """
        Args:
            predictor: answers on key slices; its listener is replaced meanwhile.
            view: along which slices are counted, shown and answered.
            window: of the pictures.
            listener: is told how far the whole is.
        """
        self._predictor = predictor
        self._case = case
        self._query = query
        self._options = options
        self._view = view
        self._window = window
        self._listener = listener
        self._pictures = SlicePictures(case, view, window)

    def conclude(self, found: FoundMask, watch: Stopwatch) -> VolumeResult:
        """Answer on key slices and put everything together."""
        areas = self._areas(found.mask)
        answered, was_stopped = watch.measure("answer", lambda: self._answers(found, areas))
        key_slices = tuple(key for key, _ in answered)
        calibration = self._predictor.model.config.calibration
        diagnosis, reasoning = shared_diagnosis(key_slices, calibration.abstain_below)
        diagnosis = with_familiarity(diagnosis, found.familiarity)
        finding = self._finding(found, [result for _, result in answered])
        return VolumeResult(
            case=self._case,
            query=self._query,
            diagnosis=diagnosis,
            reasoning=reasoning,
            findings=(finding,),
            model=self._predictor.identity,
            view=self._view,
            window=self._window,
            slices=self._scores(found, areas),
            key_slices=key_slices,
            cleaning=found.cleaning,
            mode=self._options.mode,
            planes=found.planes or (self._view.plane,),
            is_complete=not was_stopped,
            timing=watch.timing,
            warnings=self._warnings(found, finding, key_slices, was_stopped),
            familiarity=found.familiarity,
        )

    def _areas(self, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        """mm² of the mask on each slice of the view."""
        _, down, across = self._view.spacing
        pixels = [np.count_nonzero(plane) for plane in self._view.of(mask)]
        return np.array(pixels, dtype=np.float64) * down * across

    def _answers(
        self, found: FoundMask, areas: NDArray[np.float64]
    ) -> tuple[list[tuple[KeySlice, Result]], bool]:
        """The language model's answers on key slices, and whether it was stopped before the end."""
        if found.stopped is not None:
            return [], True
        answered: list[tuple[Chosen, Result]] = []
        was_stopped = False
        presence = np.nan_to_num(found.presence)
        chosen = choose_key_slices(presence, areas, found.seen, self._options.key_slices)
        try:
            for done, key in enumerate(chosen):
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
        # The mask is there already: the answer's own is drawn once, to check what it says.
        scaling = replace(self._predictor.model.config.scaling, masks=1)
        return self._predictor.segment(self._pictures.case(number), self._query.text, scaling)

    def _key_slice(self, key: Chosen, result: Result, total: float) -> KeySlice:
        return KeySlice(
            index=self._view.index(key.number),
            reason=key.reason,
            weight=key.weight / total,
            diagnosis=result.diagnosis,
            reasoning=result.reasoning,
        )

    def _finding(self, found: FoundMask, results: Sequence[Result]) -> Finding:
        labels = [finding.label for result in results for finding in result.findings]
        return Finding(
            label=found.label or (labels[0] if labels else UNNAMED_TARGET),
            present=bool(found.mask.any()),
            confidence=found.confidence,
            mask=found.mask,
            measurements=measure_volume(found.mask, self._case, found.cleaning.parts),
        )

    def _scores(self, found: FoundMask, areas: NDArray[np.float64]) -> tuple[SliceScore, ...]:
        scores = [
            SliceScore(
                index=self._view.index(number),
                presence=None if math.isnan(presence) else float(presence),
                area_mm2=float(areas[number]),
                is_interpolated=number in found.interpolated,
            )
            for number, presence in enumerate(found.presence)
        ]
        return tuple(sorted(scores, key=lambda score: score.index))

    def _warnings(
        self,
        found: FoundMask,
        finding: Finding,
        key_slices: tuple[KeySlice, ...],
        was_stopped: bool,
    ) -> tuple[str, ...]:
        warnings = [*self._case.warnings]
        if found.familiarity is not None and found.familiarity.is_outside:
            by_mode = {"volume": OUTSIDE_DIAGNOSIS_WARNING}
            own = outside_warning(found.familiarity)
            warnings.append(by_mode.get(self._options.mode, own))
        warnings += found.warnings
        if self._predictor.fallback_warning is not None:
            warnings.append(self._predictor.fallback_warning)
        if was_stopped:
            done = found.stopped or "everything was looked at"
            warnings.append(
                f"it was stopped early: {done} and {len(key_slices)} key slices were answered"
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


def _names(query: Query, finding: Finding) -> bool:
    """Whether the query has any word of the finding's label, in singular or plural; sides name
    nothing.
    """
    asked = query.text.lower()
    words = SIDES.sub("", finding.label.lower()).split()
    return any(word.rstrip("s") in asked for word in words)


def _says_absent(key: KeySlice) -> bool:
    return " analyze the image: no " in key.reasoning
