"""The fake predictor for replicas on Ray: its answers tell their process and what it encoded.

And fakes of what surrounds it: a GPU that fills up, and Ray Serve without a cluster.
"""

import dataclasses
import os
import threading
from types import SimpleNamespace

from fakes import FakePredictor

from Sim4SegCore import ModelIdentity
from Sim4SegCore.scaling_config import ScalingConfig


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


class FallingBackPredictor(FakePredictor):
    """Leaves a GPU for the CPU when it is asked a large question."""

    def __init__(self):
        super().__init__()
        self.model = SimpleNamespace(device="cuda:0")

    def ask(self, query, scaling=None):
        if "large" in query:
            self.model.device = "cpu"
        return super().ask(query, scaling)


class FakeServe:
    """Takes the place of `serve.run`; what happened stands in `events`, in order.

    While `holds` is set, replacing a replica does not end before `go_on`.
    """

    def __init__(self):
        self.events = []
        self.holds = False
        self.held, self.go_on = threading.Event(), threading.Event()

    def __call__(self, application, name, route_prefix):
        self.events.append(("run", name))
        if self.holds:
            self.held.set()
            assert self.go_on.wait(60)
        return SimpleNamespace(prepare=SimpleNamespace(remote=lambda source: self._result(name)))

    def _result(self, name):
        def result():
            self.events.append(("prepare", name))
            return ScalingConfig()

        return SimpleNamespace(result=result)
