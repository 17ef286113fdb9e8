"""A predictor that kills its own process (kill -9) in the middle of some answers."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from batch_fake_predictor import FakePredictor


class DeadlyPredictor(FakePredictor):
    """Dies once about the image `once.png`, and every time about `deadly.png`."""

    def __init__(self, marker):
        super().__init__()
        self.marker = marker

    def ask(self, query, scaling=None):
        name = self._case.source.name
        if name == "deadly.png" or (name == "once.png" and not self.marker.exists()):
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().ask(query, scaling)


@dataclass(frozen=True)
class LoadDeadly:
    """Goes to the machines of a cluster."""

    marker: Path

    def __call__(self, model, device):
        return DeadlyPredictor(self.marker)
