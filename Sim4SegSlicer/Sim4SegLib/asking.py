"""One query to the service on a thread of its own; what happens arrives as messages.

Nothing here touches MRML or Qt, so that the thread cannot: the main thread polls.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from Sim4SegCore.case import Geometry
from Sim4SegCore.errors import Sim4SegError

from .preparing import PreparedAnswer

if TYPE_CHECKING:
    from Sim4SegCore.service import Client, Options
    from Sim4SegCore.service.client import ClientProgress
    from Sim4SegCore.service.protocol import Mode

Prepare: TypeAlias = "Callable[[Any, NDArray[Any]], PreparedAnswer]"
"""Makes a `RemoteAnswer` about voxels ready for the scene; called on the query's thread."""


@dataclass(frozen=True)
class Question:
    """What is sent.

    Attributes:
        voxels: (slices, rows, columns) or (slices, rows, columns, 3); copied before they are sent,
            since the user may change the volume meanwhile.
        window: (centre, width) of grey values, None if the service is to choose.
        modality: DICOM's code (CT, MR, ...), None if it is not known.
        model: a name that the service knows, None for its first one.
        mode: as `Health.modes` names it.
        samples, masks: of a slice, how many answers and masks are combined; None as the model
            says.
        seed: of sampled answers; None is the model's own.
    """

    voxels: NDArray[Any]
    geometry: Geometry | None
    window: tuple[float, float] | None
    query: str
    modality: str | None = None
    model: str | None = None
    mode: Mode = "slice"
    samples: int | None = None
    masks: int | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Progressed:
    """A sign of life.

    Attributes:
        stage: as the service says; `progress_text` has the user's words.
        fraction: of the query, 0..1.
        remaining_s: None if unknown.
    """

    stage: str
    fraction: float
    remaining_s: float | None = None


@dataclass(frozen=True)
class Answered:
    """The end."""

    answer: PreparedAnswer


@dataclass(frozen=True)
class Failed:
    """The end: one sentence for the user.

    Attributes:
        code: of the service's problem, "" for others.
    """

    sentence: str
    code: str = ""


@dataclass(frozen=True)
class Cancelled:
    """The end, as the user wished."""


Message: TypeAlias = Progressed | Answered | Failed | Cancelled


class _CancelledError(Exception):
    """Raised inside the client's progress callback: that ends the job on the device too."""


class Asking:
    """A query on its way."""

    def __init__(
        self, make_client: Callable[[], Client], question: Question, prepare: Prepare
    ) -> None:
        """
        Args:
            make_client: called on the query's own thread.
        """
        self._make_client = make_client
        self._question = question
        self._prepare = prepare
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._cancelled = threading.Event()
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="sim4seg-query", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def cancel(self) -> None:
        """Give up: the next poll ends with `Cancelled`, whatever the service is doing.

        The thread tells the service within half a second, so that the device is free.
        """
        self._cancelled.set()

    def poll(self, wait_s: float = 0.0) -> list[Message]:
        """What has happened since the last poll; the last message of all is an end.

        Args:
            wait_s: at most, for a first message. In Slicer Python's threads run only while the main
                thread lets them, which it does while it waits here.
        """
        if self._is_over:
            return []
        messages: list[Message] = []
        try:
            messages.append(self._messages.get(timeout=wait_s) if wait_s else self._next())
            while True:
                messages.append(self._next())
        except queue.Empty:
            pass
        if self._cancelled.is_set():
            messages = [Cancelled()]
        self._is_over = any(not isinstance(message, Progressed) for message in messages)
        return messages

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread; whether it has ended."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _next(self) -> Message:
        return self._messages.get_nowait()

    def _run(self) -> None:
        from Sim4SegCore.service import ServiceError

        try:
            self._messages.put(Answered(self._ask()))
        except _CancelledError:
            self._messages.put(Cancelled())
        except ServiceError as error:
            self._messages.put(Failed(str(error), error.problem.code))
        except Sim4SegError as error:
            self._messages.put(Failed(str(error)))
        except Exception as error:
            # The thread's last word: without it the panel would wait for ever.
            self._messages.put(
                Failed(f"the query failed unexpectedly ({type(error).__name__}); try it again")
            )

    def _ask(self) -> PreparedAnswer:
        question = self._question
        self._messages.put(Progressed("start", 0.0))
        voxels = np.array(question.voxels)
        _check_finite(voxels)
        with self._make_client() as client:
            image = client.prepare_volume(
                voxels, question.geometry, question.modality, question.window
            )
            self._check()
            if question.mode not in client.health().modes:
                raise Sim4SegError(
                    f"the service does not know the mode '{question.mode}'; use the current slice"
                )
            self._check()
            client.send(image, self._report)
            answer = client.ask(image, question.query, _options(question), self._report)
        self._check()
        return self._prepare(answer, voxels)

    def _report(self, progress: ClientProgress) -> None:
        self._check()
        self._messages.put(Progressed(progress.stage, progress.fraction, progress.remaining_s))

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise _CancelledError


def _options(question: Question) -> Options:
    from Sim4SegCore.service import Options

    is_slice = question.mode == "slice"
    return Options(
        model=question.model,
        similarity="uint8" if is_slice else "none",
        mode=None if is_slice else question.mode,
        samples=question.samples if is_slice else None,
        masks=question.masks if is_slice else None,
        seed=question.seed if is_slice else None,
    )


def _check_finite(voxels: NDArray[Any]) -> None:
    if voxels.dtype.kind == "f" and not np.isfinite(voxels).all():
        raise Sim4SegError("the volume has NaN or infinite voxels; replace them first")
