"""The real predictor as the service needs it. Imports torch, so it is imported where it runs."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator

from torch import nn

from ..case import ModelIdentity
from ..modeling.sim4seg import Sim4SegModel
from ..predictor import Sim4Seg
from ..progress import Progress, Step
from ..scaling_config import ScalingConfig

SIGN_S = 0.2


class ServedSim4Seg(Sim4Seg):
    """Sim4Seg that tells what it does by itself, and can be ended within a forward pass.

    Between the layers of its networks the listener hears the last step again, which raises where
    the query was cancelled: a batch of slices, or one token of a large model on a CPU, may take
    longer than anyone should wait for the device.
    """

    def __init__(
        self,
        model: Sim4SegModel,
        identity: ModelIdentity,
        notify: Callable[[str], None] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """See `Sim4Seg`; hooks stay on the model's layers."""
        super().__init__(model, identity, notify, progress)
        for layer in _layers(model):
            layer.register_forward_pre_hook(lambda *_: self._heard.again())

    @property
    def scaling(self) -> ScalingConfig:
        """As the checkpoint says."""
        return self.model.config.scaling

    @property
    def progress(self) -> Progress:
        """See `Sim4Seg`."""
        return self._heard

    @progress.setter
    def progress(self, listener: Progress) -> None:
        self._heard = listener if isinstance(listener, _Heard) else _Heard(listener)


class _Heard:
    """A listener, and the step that it heard last."""

    def __init__(self, listener: Progress) -> None:
        self._listener = listener
        self._last: Step | None = None
        self._at = 0.0

    def __call__(self, step: Step) -> None:
        self._last, self._at = dataclasses.replace(step, mask=None), time.monotonic()
        self._listener(step)

    def again(self) -> None:
        if self._last is not None and time.monotonic() - self._at >= SIGN_S:
            self(self._last)


def _layers(model: nn.Module) -> Iterator[nn.Module]:
    """The blocks that deep networks are made of, not their parts: each costs a call."""
    for part in model.modules():
        if isinstance(part, nn.ModuleList):
            yield from part
