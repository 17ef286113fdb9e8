"""A checkpoint's volumetric network, read when it is first asked for: few need it, and MONAI takes
seconds to import.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import Sim4SegError
from .fingerprint import fingerprint
from .sim4seg import Sim4SegModel

if TYPE_CHECKING:
    from .volumetric import VolumetricNetwork

VOLUMETRIC_FOLDER = "volumetric"


class VolumetricSource:
    """Where the network lies."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._network: VolumetricNetwork | None = None

    def network(self, model: Sim4SegModel) -> VolumetricNetwork:
        """The network, on the model's device.

        Raises:
            Sim4SegError: if it is damaged, or aligned with another checkpoint than this model.
        """
        if self._network is None:
            from .volumetric_checkpoint import load_volumetric

            network = load_volumetric(self._folder)
            if network.config.aligned_with != projection_fingerprint(model):
                raise Sim4SegError(
                    "the volumetric network of this checkpoint is aligned with another language "
                    "model; run `python training/run.py align`"
                )
            self._network = network
        return self._network.to(model.device)


def projection_fingerprint(model: Sim4SegModel) -> str:
    """Tells checkpoints apart by their projection of [SEG], whatever precision they run in."""
    return fingerprint(model.projection.state_dict())
