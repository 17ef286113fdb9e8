"""A model on a machine of a Ray cluster: the other end of `remote`.

Does for one model and one device what the worker's thread does where there is no Ray. Everything
it says goes as messages through one stream, so that only what is known to be picklable travels.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ..case import Case, Result
from ..errors import Sim4SegError
from ..out_of_memory import is_out_of_memory
from ..progress import Step
from ..scaling_config import ScalingConfig
from ..volume import SliceOptions, VolumeCase, VolumeResult
from .caching import ByteCache, bytes_within
from .models import Load, ModelShelf, Predictor, place_of

HEARTBEAT_S = 0.2


@dataclass(frozen=True)
class Failure:
    """Why there is no result.

    Attributes:
        kind: `image_missing` (send it along), `refused` (by the model; a sentence),
            `out_of_memory`, or `defect`.
    """

    kind: str
    sentence: str = ""


@dataclass(frozen=True)
class Asked:
    """One query, as it travels.

    Attributes:
        source: of the model, see `models.Load`.
        image: names the image from now on.
        case: the image; None if it was sent before. Volumes are always sent: they are not kept.
        options: in the predictor's words; None as the model says.
    """

    source: str | None
    image: str
    case: Case | VolumeCase | None
    query: str
    options: ScalingConfig | SliceOptions | None = None


@dataclass(frozen=True)
class VolumeReply:
    """A VolumeResult on its way, without the volume: whoever asked has it."""

    kind: type[VolumeResult]
    fields: dict[str, Any]

    @classmethod
    def of(cls, result: VolumeResult) -> VolumeReply:
        """Take a result apart."""
        names = [entry.name for entry in dataclasses.fields(result) if entry.name != "case"]
        return cls(type(result), {name: getattr(result, name) for name in names})

    def about(self, volume: VolumeCase) -> VolumeResult:
        """The result again."""
        return self.kind(case=volume, **self.fields)


Reply = Result | VolumeReply | Failure
Message = Step | Reply | None
"""None is a sign of life: whoever listens can see that it was cancelled."""


class EndedError(Exception):
    """Raised inside the predictor when nobody listens any more."""


class Replica:
    """Answers one query at a time; images stay encoded, the most recently used ones."""

    def __init__(self, load: Load, device: str, encoded_bytes: int, max_models: int) -> None:
        self._shelf = ModelShelf(load, device, max_models)
        self._encoded: ByteCache[tuple[str | None, str], Any] = ByteCache(encoded_bytes)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")

    async def prepare(self, source: str | None) -> ScalingConfig | Failure:
        """Load a model, and say what it does where nobody asks for more."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._prepare, source)

    async def pid(self) -> int:
        """Of this process."""
        return os.getpid()

    async def ask(self, asked: Asked) -> AsyncIterator[Message]:
        """Answer a query; the last message is a Reply."""
        loop = asyncio.get_running_loop()
        messages: asyncio.Queue[Message] = asyncio.Queue()
        ended = threading.Event()

        def say(message: Message) -> None:
            if ended.is_set():
                raise EndedError
            loop.call_soon_threadsafe(messages.put_nowait, message)

        work = loop.run_in_executor(self._thread, self._answer, asked, say)
        try:
            while not work.done() or not messages.empty():
                try:
                    yield await asyncio.wait_for(messages.get(), HEARTBEAT_S)
                except asyncio.TimeoutError:
                    yield None
            yield work.result()
        finally:
            ended.set()

    # ----------------------------------------------------------------- the model's thread

    def _prepare(self, source: str | None) -> ScalingConfig | Failure:
        try:
            return self._predictor(source).scaling
        except Exception as error:
            return _failure(error)

    def _predictor(self, source: str | None) -> Predictor:
        predictor, is_new = self._shelf.get(_name(source), source)
        if is_new:
            # What another instance of the model encoded must not be mixed with this one's.
            self._encoded.clear()
        return predictor

    def _answer(self, asked: Asked, say: Callable[[Message], None]) -> Reply | None:
        try:
            predictor = self._predictor(asked.source)
            place = place_of(predictor)
            predictor.progress = say
            try:
                if isinstance(asked.case, VolumeCase):
                    return _ask_volume(predictor, asked.case, asked)
                return self._ask(predictor, asked)
            finally:
                predictor.progress = _ignore
                predictor.encoded = None
                if place_of(predictor) != place:
                    # It fell back to the CPU, where what was encoded on the GPU is of no use; the
                    # next query finds out whether the GPU has room again.
                    self._encoded.clear()
                    self._shelf.drop(_name(asked.source))
        except EndedError:
            return None
        except Exception as error:
            if is_out_of_memory(error):
                self._encoded.clear()
            return _failure(error)

    def _ask(self, predictor: Predictor, asked: Asked) -> Result | Failure:
        key = (asked.source, asked.image)
        encoded = self._encoded.get(key)
        if encoded is not None:
            predictor.encoded = encoded
        elif isinstance(asked.case, Case):
            predictor.set_image(asked.case)
        else:
            return Failure("image_missing")
        scaling = asked.options if isinstance(asked.options, ScalingConfig) else None
        result = predictor.ask(asked.query, scaling)
        # Put again after every query: tiles may have been added.
        self._encoded.put(key, predictor.encoded, bytes_within(predictor.encoded))
        return result


def _name(source: str | None) -> str:
    return source or "embedded"


def _ask_volume(predictor: Predictor, volume: VolumeCase, asked: Asked) -> VolumeReply:
    options = asked.options if isinstance(asked.options, SliceOptions) else None
    return VolumeReply.of(predictor.segment_volume(volume, asked.query, options))


def _failure(error: Exception) -> Failure:
    if is_out_of_memory(error):
        return Failure("out_of_memory")
    if isinstance(error, Sim4SegError):
        return Failure("refused", str(error))
    return Failure("defect", type(error).__name__)


def _ignore(step: Step) -> None:
    """Nobody listens between queries."""
