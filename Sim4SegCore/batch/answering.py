"""Asks the model about a study that was read; what goes wrong is the study's own outcome."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from ..case import Case, ModelIdentity, Result
from ..errors import Sim4SegError
from ..scaling_config import ScalingConfig
from ..volume import SliceOptions, VolumeCase, VolumeResult
from .failures import unexpected
from .manifest import DONE, FAILED, Outcome
from .plan import Task
from .reading import Read
from .table import answer_columns


class Predictor(Protocol):
    """What answers; `Sim4SegCore.Sim4Seg` does."""

    @property
    def identity(self) -> ModelIdentity:
        """Which weights."""

    @property
    def model(self) -> Any:
        """Its `config.scaling` is what it does where nobody asks for more."""

    def set_image(self, image: Case) -> None:
        """Encode an image."""

    def ask(self, query: str, scaling: ScalingConfig | None = None) -> Result:
        """Answer a query about it."""

    def segment_volume(
        self, volume: VolumeCase, query: str, options: SliceOptions | None = None
    ) -> VolumeResult:
        """Answer a query about a volume."""


@dataclass(frozen=True)
class Answer:
    """What became of a task before anything is written.

    Attributes:
        result: None if there is none; `reason` then says why.
        seconds: reading and encoding (in a study's first task) and answering.
    """

    task: Task
    result: Result | VolumeResult | None
    reason: str
    seconds: float

    def outcome(self, model_sha256: str, not_written: str = "") -> Outcome:
        """The line of the manifest.

        Args:
            not_written: the reason if the result could not be written.
        """
        reason = self.reason or not_written
        return Outcome(
            study=self.task.study,
            query_name=self.task.query_name,
            query=self.task.query,
            input=self.task.input,
            model_sha256=model_sha256,
            status=FAILED if reason else DONE,
            reason=" ".join(reason.split()),
            seconds=round(self.seconds, 3),
            answer={} if reason or self.result is None else answer_columns(self.result),
        )


def answers(predictor: Predictor, read: Read) -> Iterator[Answer]:
    """The answers to a study's tasks, one after the other."""
    started = time.perf_counter()
    reason = _encode(predictor, read.case) if isinstance(read.case, Case) else read.reason
    seconds = read.seconds + time.perf_counter() - started
    for task in read.job.tasks:
        started = time.perf_counter()
        result, problem = (None, reason) if reason else _ask(predictor, read, task)
        seconds += time.perf_counter() - started
        yield Answer(task, result, problem, seconds)
        seconds = 0.0


def _encode(predictor: Predictor, case: Case) -> str:
    """The reason if it failed, else empty."""
    try:
        predictor.set_image(case)
    except Sim4SegError as error:
        return str(error)
    except Exception as error:  # a defect must not end the other studies
        return unexpected(error)
    return ""


def _ask(predictor: Predictor, read: Read, task: Task) -> tuple[Result | VolumeResult | None, str]:
    """A result, or the reason why there is none."""
    asking = read.job.asking
    try:
        if isinstance(read.case, VolumeCase):
            return predictor.segment_volume(read.case, task.query, asking.volume_options), ""
        return predictor.ask(task.query, asking.scaling(predictor.model.config.scaling)), ""
    except Sim4SegError as error:
        return None, str(error)
    except Exception as error:  # a defect must not end the other studies
        return None, unexpected(error)
