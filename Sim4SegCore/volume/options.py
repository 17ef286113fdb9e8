"""How a volume is taken apart. Knows nothing of torch."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import Sim4SegError

MODES = ("slices", "volume")


@dataclass(frozen=True)
class SliceOptions:
    """How a volume is taken apart.

    Attributes:
        axis: along which slices are looked at, counted and shown; see `view_slices`. `all` looks
            along all three planes and lets them vote, `auto` does so in small volumes of about
            even spacings; both in mode `slices` alone.
        mode: `slices` segments every slice, `volume` windows in three dimensions, with a network
            that not every checkpoint has.
        batch: slices or windows at a time; None for what suits the device.
        scouts: slices that read the query, to find the [SEG] state that all are asked with.
        key_slices: at most so many are answered by the language model.
    """

    axis: str = "auto"
    mode: str = "slices"
    batch: int | None = None
    scouts: int = 5
    key_slices: int = 3

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise Sim4SegError(f"unknown mode '{self.mode}' of volumes; use {' or '.join(MODES)}")
        if self.batch is not None and self.batch < 1:
            raise Sim4SegError("the batch needs at least one slice")
        if min(self.scouts, self.key_slices) < 1:
            raise Sim4SegError("at least one scout and one key slice are needed")
