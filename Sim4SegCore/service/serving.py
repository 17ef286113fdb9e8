"""The real predictor as the service needs it. Imports torch, so it is imported where it runs."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from ..case import ModelIdentity, Result
from ..modeling.sim4seg import Sim4SegModel
from ..out_of_memory import is_out_of_memory
from ..predictor import Sim4Seg
from ..progress import Progress, Step
from ..scaling_config import ScalingConfig

SIGN_S = 0.2


class ServedSim4Seg(Sim4Seg):
    """Sim4Seg that tells what it does by itself, and can be ended within a forward pass.

    Between the layers of its networks the listener hears the last step again, which raises where
    the query was cancelled: a batch of slices, or one token of a large model on a CPU, may take
    longer than anyone should wait for the device.

    Where the GPU's memory runs out it says so first, so that whoever keeps images encoded there can
    make room and ask again. Only then does it move to the CPU.
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
        self._was_short = False
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

    def ask(self, query: str, scaling: ScalingConfig | None = None) -> Result:
        """See `Sim4Seg`."""
        result = super().ask(query, scaling)
        self._was_short = False
        return result

    def _with_fallback(self, work: Callable[[], Any]) -> Any:
        if self._was_short:
            return super()._with_fallback(work)
        try:
            return work()
        except RuntimeError as error:
            self._was_short = is_out_of_memory(error)
            raise


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
