"""The real predictor as the service needs it. Imports torch, so it is imported where it runs."""

from __future__ import annotations

from ..predictor import Sim4Seg
from ..scaling_config import ScalingConfig


class ServedSim4Seg(Sim4Seg):
    """Sim4Seg that tells what it does where nobody asks for more."""

    @property
    def scaling(self) -> ScalingConfig:
        """As the checkpoint says."""
        return self.model.config.scaling
