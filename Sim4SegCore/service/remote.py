"""A predictor whose model is somewhere else; the worker's thread cannot tell the difference.

Knows nothing of Ray: it talks through a Channel, and asks again when what answers was lost.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import NoReturn, Protocol

from ..case import Case, Result
from ..errors import Sim4SegError
from ..progress import Progress, Step
from ..scaling_config import ScalingConfig
from ..volume import SliceOptions, VolumeCase, VolumeResult
from .problems import refuse
from .replica import Asked, Failure, Message, Reply, VolumeReply

TRIES = 3
PAUSE_S = 0.5


class ReplicaLostError(Exception):
    """What answers has gone, and another one may be on its way."""


class Channel(Protocol):
    """The way to one replica, and to whatever takes its place."""

    def prepare(self, source: str | None) -> ScalingConfig | Failure:
        """See `Replica.prepare`.

        Raises:
            ReplicaLostError: if it went away meanwhile.
        """

    def ask(self, asked: Asked) -> Generator[Message, None, None]:
        """See `Replica.ask`; closing the generator cancels the query.

        Raises:
            ReplicaLostError: if it went away meanwhile.
        """


@dataclass
class RemoteImage:
    """An image that a replica may hold; the case is kept to send it again."""

    case: Case | VolumeCase
    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    was_sent: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels."""
        pixels = self.case.voxels if isinstance(self.case, VolumeCase) else self.case.image
        return pixels.nbytes


class RemotePredictor:
    """See `models.Predictor`."""

    def __init__(self, channel: Channel, source: str | None) -> None:
        """
        Raises:
            Sim4SegError: if the replica cannot load the model.
        """
        self.progress: Progress = _ignore
        self.encoded: RemoteImage | None = None
        self._channel = channel
        self._source = source
        self._last = Step("encode", 0.0)
        self.scaling = self._prepare()

    def _prepare(self) -> ScalingConfig:
        for _ in range(TRIES):
            try:
                prepared = self._channel.prepare(self._source)
            except ReplicaLostError:
                time.sleep(PAUSE_S)
                continue
            if isinstance(prepared, Failure):
                _raise(prepared)
            return prepared
        raise Sim4SegError("the process that loads the model ended several times; free memory")

    def set_image(self, image: Case) -> None:
        """Nothing is sent before there is a query."""
        self.encoded = RemoteImage(image)

    def ask(self, query: str, scaling: ScalingConfig | None = None) -> Result:
        """
        Raises:
            Sim4SegError: if the model refuses.
            MemoryError: if the replica had not enough.
            ServiceProblemError: if no replica survives the query.
        """
        image = self.encoded
        if image is None:
            raise Sim4SegError("set an image before asking")
        reply = self._until_answered(image, query, scaling)
        assert isinstance(reply, Result)
        return reply

    def segment_volume(
        self, volume: VolumeCase, query: str, options: SliceOptions | None = None
    ) -> VolumeResult:
        """See `ask` for what it raises."""
        reply = self._until_answered(RemoteImage(volume), query, options)
        assert isinstance(reply, VolumeReply)
        return reply.about(volume)

    def _until_answered(
        self, image: RemoteImage, query: str, options: ScalingConfig | SliceOptions | None
    ) -> Result | VolumeReply:
        self._last = Step("encode", 0.0)
        died = 0
        while died < TRIES:
            before = self._last
            try:
                message = self._attempt(image, query, options)
            except ReplicaLostError:
                image.was_sent = False
                # Some never reach a replica, while another one is being started.
                died += self._last is not before
                time.sleep(PAUSE_S)
                # Ends the query if its time is over or it was cancelled.
                self.progress(Step(self._last.stage, self._last.fraction))
                continue
            if not isinstance(message, Failure):
                return message
            if message.kind == "image_missing":
                image.was_sent = False
                continue
            _raise(message)
        raise refuse(
            "out_of_memory", "The process that worked on it ended several times, as without memory."
        )

    def _attempt(
        self, image: RemoteImage, query: str, options: ScalingConfig | SliceOptions | None
    ) -> Reply:
        case = None if image.was_sent else image.case
        messages = self._channel.ask(Asked(self._source, image.name, case, query, options))
        try:
            for message in messages:
                if isinstance(message, Reply):
                    image.was_sent = True
                    return message
                if message is not None:
                    self._last = message
                    self.progress(message)
                else:
                    self.progress(Step(self._last.stage, self._last.fraction))
        finally:
            messages.close()
        raise ReplicaLostError


def _raise(failure: Failure) -> NoReturn:
    if failure.kind == "out_of_memory":
        raise MemoryError
    if failure.kind == "refused":
        raise Sim4SegError(failure.sentence)
    raise RuntimeError(f"a defect in the replica: {failure.sentence}")


def _ignore(step: Step) -> None:
    """Nobody listens between jobs."""
