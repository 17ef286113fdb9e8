"""Every slice looked at once, in batches: memory is bounded by the batch, not by the volume.

Slices are drawn where the target may be by what the LVLM says of them and of their neighbours;
the masks of others would be dropped (`consistency.followed_slices`). Of thin slices every other
one is drawn, as smoothing along the stack would leave nothing of finer changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..case import Familiarity
from ..modeling.lvlm import LVLM
from ..progress import StopAndKeepError
from .anchors import AnchoredReadings, anchor_numbers
from .consistency import smoothing_reach, thinned, worth_drawing
from .grounding import Reading, Scouted, SliceGrounder
from .key_slices import scout_numbers
from .memory import ModelHolder, Room
from .slices import SlicePictures

CPU_BATCH = 8
GPU_BATCH = 32
NOTHING = -30.0
"""Logit of a mask on slices that were not looked at."""


@dataclass(kw_only=True)
class ReadSlices:
    """What the LVLM says of the slices of a view.

    Attributes:
        presence: float32 (N,) probabilities, between anchors interpolated; 0 where nothing was
            looked at.
        seen: numbers of the slices that were looked at, ascending.
        anchors: numbers of those that the LVLM reads.
        was_stopped: the listener ended it early.
    """

    presence: Tensor
    anchors: list[int]
    seen: list[int] = field(default_factory=list)
    was_stopped: bool = False

    @property
    def is_seen(self) -> Tensor:
        """bool (N,)."""
        return self.among(self.seen)

    @property
    def known_presence(self) -> NDArray[np.float64]:
        """(N,), NaN where nothing was looked at."""
        return torch.where(self.is_seen, self.presence.double(), torch.nan).numpy()

    @property
    def interpolated(self) -> frozenset[int]:
        """Slices whose presence lies between those of their neighbours."""
        return frozenset(self.seen) - frozenset(self.anchors)

    def among(self, numbers: list[int]) -> Tensor:
        """bool (N,), where a slice is one of these."""
        chosen = torch.zeros(len(self.presence), dtype=torch.bool)
        chosen[numbers] = True
        return chosen


@dataclass(kw_only=True)
class Looked(ReadSlices):
    """What was seen on the slices of a view.

    Attributes:
        mask_logits: float16 (N, P, P) in the frame of `SlicePictures.frame`; NOTHING where
            nothing was drawn.
        drawn: numbers of the slices that were drawn, ascending.
        worth_looking: numbers of the slices that show anything.
        warnings: about memory.
    """

    mask_logits: Tensor
    worth_looking: list[int]
    warnings: list[str]
    drawn: list[int] = field(default_factory=list)

    @property
    def is_drawn(self) -> Tensor:
        """bool (N,)."""
        return self.among(self.drawn)

    def note_seen(self, last: int) -> None:
        """All slices worth looking at up to this one were looked at."""
        self.seen = [number for number in self.worth_looking if number <= last]


class SliceLooker:
    """Scouts first, then all slices with the [SEG] state of the scout that is surest."""

    def __init__(
        self,
        holder: ModelHolder,
        pictures: SlicePictures,
        query: str,
        report: Callable[[float], None],
        batch: int | None = None,
    ) -> None:
        """
        Args:
            holder: its model computes, and is replaced if it has to move to the CPU.
            pictures: the slices.
            query: the user's text.
            report: called between batches with the fraction that is done; may raise.
            batch: slices at a time; None for what suits the device.
        """
        self._holder = holder
        self._pictures = pictures
        self._report = report
        self._grounder = SliceGrounder(holder.model, pictures, query)
        is_gpu = holder.model.device.type == "cuda"
        self._room = Room(
            holder,
            batch or (GPU_BATCH if is_gpu else CPU_BATCH),
            "slices",
            CPU_BATCH,
            self._moved,
        )

    @property
    def lvlm(self) -> LVLM:
        """That reads the query."""
        return self._holder.model.lvlm

    @property
    def familiarity(self) -> Familiarity | None:
        """Of the slices that the LVLM has read so far."""
        return self._grounder.familiarity

    @property
    def warnings(self) -> list[str]:
        """About memory."""
        return self._room.warnings

    def look(self, scouts: int) -> Looked:
        """Look at everything.

        Args:
            scouts: how many slices read the query to find the [SEG] state.

        Raises:
            Sim4SegError: if not even one slice fits into memory.
        """
        count, side = len(self._pictures), self._holder.model.config.segmenter.prompt_size
        worth_looking = self._pictures.worth_looking()
        looked = Looked(
            presence=torch.zeros(count),
            mask_logits=torch.full((count, side, side), NOTHING, dtype=torch.float16),
            worth_looking=worth_looking,
            anchors=anchor_numbers(worth_looking, self._pictures.view.spacing[0]),
            warnings=self.warnings,
        )
        try:
            states, presence = self.scout(scouts, looked.anchors)
            self._look_at_all(looked, states[int(presence.argmax())])
        except StopAndKeepError:
            looked.was_stopped = True
        return looked

    def scout(self, scouts: int, among: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Read the query on some slices, evenly spread.

        Args:
            scouts: how many.
            among: slices worth looking at.

        Returns:
            [SEG] states (S, D) and presence logits (S,).

        Raises:
            Sim4SegError: if not even one slice fits into memory.
        """
        seen = []
        for number in scout_numbers(among or range(len(self._pictures)), scouts):
            self._report(0.0)
            seen.append(self._scout_one(number))
        states = torch.cat([scouted.seg_states for scouted in seen])
        return states, torch.cat([scouted.presence_logits for scouted in seen])

    def _scout_one(self, number: int) -> Scouted:
        return self._room.attempt(lambda _: self._grounder.scout([number]), 1)

    def _look_at_all(self, looked: Looked, seg_state: Tensor) -> None:
        readings = AnchoredReadings(looked.anchors, lambda numbers: self._read(numbers, seg_state))
        while not readings.is_complete:
            self._report_progress(looked, readings)
            readings.read_more()
            self._draw(looked, seg_state, readings, *self._decide(looked, readings))
        self._report(1.0)

    def _report_progress(self, looked: Looked, readings: AnchoredReadings) -> None:
        total = len(looked.worth_looking) + len(looked.anchors)
        self._report((len(looked.seen) + readings.count) / total)

    def _read(self, anchors: Sequence[int], seg_state: Tensor) -> Reading:
        """The first few of the slices; where memory does not suffice, fewer."""
        return self._room.attempt(
            lambda count: self._grounder.read(anchors[:count], seg_state), len(anchors)
        )

    def _decide(self, looked: Looked, readings: AnchoredReadings) -> tuple[int, list[int]]:
        """Up to which slice enough neighbours are known, and which of the next ones to draw.

        Notes the presence of all that are known.
        """
        distance = self._pictures.view.spacing[0]
        known = [number for number in looked.worth_looking if number <= readings.last]
        looked.presence[known] = readings.at(known).presence_logits.sigmoid()
        threshold = self._holder.model.config.presence_threshold
        worth = worth_drawing(looked.presence, looked.among(known), distance, threshold)
        drawn = thinned(worth, distance)
        last = readings.last - (0 if readings.is_complete else 2 * smoothing_reach(distance))
        following = known[len(looked.seen) :]
        return last, [number for number in following if number <= last and drawn[number]]

    def _draw(
        self,
        looked: Looked,
        seg_state: Tensor,
        readings: AnchoredReadings,
        last: int,
        waiting: list[int],
    ) -> None:
        """Draw what waits, and note that all slices up to `last` were looked at."""
        while waiting:
            self._report_progress(looked, readings)
            numbers, masks = self._next(waiting, seg_state, readings)
            looked.mask_logits[numbers] = masks
            looked.drawn += numbers
            looked.note_seen(numbers[-1])
            waiting = waiting[len(numbers) :]
        looked.note_seen(last)

    def _next(
        self, waiting: list[int], seg_state: Tensor, readings: AnchoredReadings
    ) -> tuple[list[int], Tensor]:
        """Numbers and mask logits of one batch."""

        def draw(count: int) -> tuple[list[int], Tensor]:
            numbers = waiting[:count]
            similarity = readings.at(numbers).similarity
            return numbers, self._grounder.draw(numbers, seg_state, similarity)

        return self._room.attempt(draw, len(waiting))

    def _moved(self) -> None:
        self._grounder.model = self._holder.model
