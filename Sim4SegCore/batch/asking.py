"""How a batch asks: about which part of a study, and for how many answers and masks."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ..errors import Sim4SegError
from ..scaling_config import ScalingConfig
from ..volume.options import MODES, SliceOptions

SLICE = "slice"
ALL_MODES = (SLICE, *MODES)
_SCALING = ("samples", "masks", "seed")


@dataclass(frozen=True)
class Asking:
    """The same for all studies of a batch.

    Attributes:
        mode: `slice` asks about pictures and single slices, others about whole volumes, see
            `SliceOptions`.
        samples: see `ScalingConfig`; None as the model says, and so are the next two.

    Raises:
        Sim4SegError: if there is no such mode, a number is out of range, or volumes are to be
            answered several times.
    """

    mode: str = SLICE
    samples: int | None = None
    masks: int | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.mode not in ALL_MODES:
            raise Sim4SegError(f"unknown mode '{self.mode}'; use {', '.join(ALL_MODES)}")
        self.scaling(ScalingConfig())
        for name in _SCALING if self.is_about_volumes else ():
            if getattr(self, name) is not None:
                raise Sim4SegError(
                    f"--{name} is about single images; leave it out with --mode {self.mode}"
                )

    @property
    def is_about_volumes(self) -> bool:
        """Whether volumes are read as a whole."""
        return self.mode != SLICE

    @property
    def volume_options(self) -> SliceOptions:
        """How volumes are taken apart."""
        return SliceOptions(mode=self.mode)

    @property
    def difference(self) -> list[dict[str, str | int | None]]:
        """What it adds to the identity of an answer; nothing if all is as the model says.

        Batches that were begun before there was a choice so go on where they are.
        """
        return [] if self == USUAL else [dataclasses.asdict(self)]

    def scaling(self, default: ScalingConfig) -> ScalingConfig | None:
        """What is asked for on top of a default; None if nothing."""
        return default.asked({name: getattr(self, name) for name in _SCALING})


USUAL = Asking()
"""Single images, as the model says."""
