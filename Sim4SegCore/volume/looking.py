"""Every slice looked at once, in batches: memory is bounded by the batch, not by the volume."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..errors import Sim4SegError
from ..modeling.sim4seg import Sim4SegModel
from ..progress import StopAndKeepError
from .grounding import SliceEvidence, SliceGrounder
from .key_slices import scout_numbers
from .slices import SlicePictures

CPU_BATCH = 8
GPU_BATCH = 32
NOTHING = -30.0
"""Logit of a mask on slices that were not looked at."""


class ModelHolder(Protocol):
    """Whoever owns the model; a model that moves to the CPU moves for its owner too."""

    model: Sim4SegModel


@dataclass
class Looked:
    """What was seen on the slices of a view.

    Attributes:
        presence: float32 (N,) probabilities; 0 where nothing was looked at.
        mask_logits: float16 (N, P, P) in the frame of `SlicePictures.frame`.
        seen: numbers of the slices that were looked at, ascending.
        worth_looking: numbers of the slices that show anything.
        warnings: about memory.
        was_stopped: the listener ended it early.
    """

    presence: Tensor
    mask_logits: Tensor
    seen: list[int]
    worth_looking: list[int]
    warnings: list[str]
    was_stopped: bool = False

    @property
    def is_seen(self) -> Tensor:
        """bool (N,)."""
        seen = torch.zeros(len(self.presence), dtype=torch.bool)
        seen[self.seen] = True
        return seen


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
        self._batch = batch or (GPU_BATCH if is_gpu else CPU_BATCH)
        self._warnings: list[str] = []

    def look(self, scouts: int) -> Looked:
        """Look at everything.

        Args:
            scouts: how many slices read the query to find the [SEG] state.

        Raises:
            Sim4SegError: if not even one slice fits into memory.
        """
        count, side = len(self._pictures), self._holder.model.config.segmenter.prompt_size
        looked = Looked(
            presence=torch.zeros(count),
            mask_logits=torch.full((count, side, side), NOTHING, dtype=torch.float16),
            seen=[],
            worth_looking=[n for n in range(count) if not self._pictures.is_empty(n)],
            warnings=self._warnings,
        )
        try:
            seg_state = self._scout(scout_numbers(looked.worth_looking, scouts))
            self._look_at_all(looked, seg_state)
        except StopAndKeepError:
            looked.was_stopped = True
        return looked

    def _scout(self, numbers: list[int]) -> Tensor:
        states, presence = [], []
        for number in numbers:
            self._report(0.0)
            evidence = self._scout_one(number)
            states.append(evidence.seg_states[0])
            presence.append(float(evidence.presence_logits[0]))
        return states[presence.index(max(presence))]

    def _look_at_all(self, looked: Looked, seg_state: Tensor) -> None:
        waiting = looked.worth_looking
        while len(looked.seen) < len(waiting):
            self._report(len(looked.seen) / len(waiting))
            start = len(looked.seen)
            numbers, evidence = self._next(waiting[start:], seg_state)
            looked.presence[numbers] = evidence.presence_logits.sigmoid()
            looked.mask_logits[numbers] = evidence.mask_logits
            looked.seen += numbers
        self._report(1.0)

    def _next(self, waiting: list[int], seg_state: Tensor) -> tuple[list[int], SliceEvidence]:
        """One batch; where memory does not suffice, a smaller one."""
        while True:
            numbers = waiting[: self._batch]
            try:
                return numbers, self._grounder.ground(numbers, seg_state)
            except (MemoryError, RuntimeError) as error:
                self._make_room(error, len(numbers))

    def _scout_one(self, number: int) -> SliceEvidence:
        while True:
            try:
                return self._grounder.scout([number])
            except (MemoryError, RuntimeError) as error:
                self._make_room(error, 1)

    def _make_room(self, error: BaseException, size: int) -> None:
        """Smaller batches first, then the CPU; gives up when both are used up."""
        if not _is_out_of_memory(error):
            raise error
        model = self._holder.model
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if size > 1:
            self._batch = size // 2
            self._warn(f"memory ran short; continued with {self._batch} slices at a time")
        elif model.device.type != "cpu":
            self._holder.model = self._grounder.model = model.float().to("cpu")
            self._batch = CPU_BATCH
            self._warn("the GPU has not enough free memory; computed on the CPU")
        else:
            raise Sim4SegError(
                "there is not enough memory for a single slice; close other programs or use a "
                "smaller model"
            ) from None

    def _warn(self, sentence: str) -> None:
        self._warnings.append(sentence)


def _is_out_of_memory(error: BaseException) -> bool:
    """torch's CPU allocator raises a plain RuntimeError."""
    return (
        isinstance(error, MemoryError | torch.cuda.OutOfMemoryError)
        or "can't allocate memory" in str(error)
        or "not enough memory" in str(error)
    )
