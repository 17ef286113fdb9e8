"""The fake predictor for replicas on Ray: its answers tell their process and what it encoded."""

import dataclasses
import os

from fakes import FakePredictor

from Sim4SegCore import ModelIdentity


class TellingPredictor(FakePredictor):
    """The model's name is the process, its revision the number of images encoded there."""

    def ask(self, query, scaling=None):
        self.seconds = 1.0 if "slow" in query else 0.0
        return self._telling(super().ask(query, scaling))

    def segment_volume(self, volume, query, options=None):
        return self._telling(super().segment_volume(volume, query, options))

    def _telling(self, result):
        model = ModelIdentity(str(os.getpid()), "00", str(self.encodings))
        return dataclasses.replace(result, model=model)


def load(source, device):
    return TellingPredictor(steps=20)
