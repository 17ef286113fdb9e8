"""What happens when memory runs short: smaller batches, then the CPU, and a sentence about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import torch

from ..errors import Sim4SegError
from ..modeling.sim4seg import Sim4SegModel
from ..out_of_memory import is_out_of_memory

_T = TypeVar("_T")


class ModelHolder(Protocol):
    """Whoever owns the model; a model that moves to the CPU moves for its owner too."""

    model: Sim4SegModel


class Room:
    """How much is computed at a time, and where.

    Attributes:
        batch: things at a time.
        warnings: what had to be given up.
    """

    def __init__(
        self,
        holder: ModelHolder,
        batch: int,
        things: str,
        cpu_batch: int,
        on_cpu: Callable[[], object],
    ) -> None:
        """
        Args:
            holder: its model is moved if it has to be.
            batch: to begin with.
            things: what a batch is made of, for people, in the plural.
            cpu_batch: on the CPU.
            on_cpu: called when the model was moved there.
        """
        self.batch = batch
        self.warnings: list[str] = []
        self._holder = holder
        self._things = things
        self._cpu_batch = cpu_batch
        self._on_cpu = on_cpu

    def attempt(self, work: Callable[[int], _T], most: int) -> _T:
        """Call `work` with how many things to compute, at most `most`; again with fewer of them.

        Raises:
            Sim4SegError: if not even one fits.
        """
        while True:
            size = min(self.batch, most)
            try:
                return work(size)
            except (MemoryError, RuntimeError) as error:
                self._make(error, size)

    def _make(self, error: BaseException, size: int) -> None:
        if not is_out_of_memory(error):
            raise error
        model = self._holder.model
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if size > 1:
            self.batch = size // 2
            self.warnings.append(
                f"memory ran short; continued with {self.batch} {self._things} at a time"
            )
        elif model.device.type != "cpu":
            self._holder.model = model.to("cpu").float()
            self._on_cpu()
            self.batch = self._cpu_batch
            self.warnings.append("the GPU has not enough free memory; computed on the CPU")
        else:
            raise Sim4SegError(
                f"there is not enough memory for a single one of the {self._things}; close other "
                "programs or use a smaller model"
            ) from None
