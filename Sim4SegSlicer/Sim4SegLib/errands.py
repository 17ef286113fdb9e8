"""Work beside queries that the window must not wait for: on a thread, its end on the main one.

Nothing here touches MRML or Qt; what is done on the thread must not either.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from Sim4SegCore.errors import Sim4SegError

TICK_MS = 50
POLL_S = 0.02
T = TypeVar("T")


class Errand(Generic[T]):
    """One piece of work on its way."""

    def __init__(
        self, work: Callable[[], T], done: Callable[[T], None], failed: Callable[[str], None]
    ) -> None:
        """
        Args:
            work: runs on the thread.
            done, failed: one of them is called by `poll` with the result, or with a sentence.
        """
        self._work = work
        self._done = done
        self._failed = failed
        self._outcome: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="sim4seg-errand", daemon=True)
        self._thread.start()

    def poll(self, wait_s: float = POLL_S) -> bool:
        """Whether it is over; main thread only."""
        try:
            is_done, value = self._outcome.get(timeout=wait_s)
        except queue.Empty:
            return False
        (self._done if is_done else self._failed)(value)
        return True

    def _run(self) -> None:
        try:
            self._outcome.put((True, self._work()))
        except Sim4SegError as error:
            self._outcome.put((False, str(error)))
        except Exception as error:
            # The thread's last word: without it the panel would wait for ever.
            self._outcome.put(
                (False, f"this failed unexpectedly ({type(error).__name__}); try it again")
            )


class Errands:
    """Leads errands to their end; a new one of a kind takes the place of the one before."""

    def __init__(self, ticker: Any) -> None:
        """
        Args:
            ticker: see `queries.Ticker`.
        """
        self._ticker = ticker
        self._running: dict[str, Errand[Any]] = {}

    def start(
        self,
        kind: str,
        work: Callable[[], T],
        done: Callable[[T], None],
        failed: Callable[[str], None],
    ) -> None:
        """Begin; an earlier errand of the kind goes on, but nobody hears of it."""
        self._running[kind] = Errand(work, done, failed)
        self._ticker.start(self._tick, TICK_MS)

    def is_running(self, kind: str) -> bool:
        """Whether one of the kind has not come back yet."""
        return kind in self._running

    def close(self) -> None:
        """Hear of none any more."""
        self._running.clear()
        self._ticker.stop()

    def _tick(self) -> None:
        for kind, errand in list(self._running.items()):
            if errand.poll() and self._running.get(kind) is errand:
                del self._running[kind]
        if not self._running:
            self._ticker.stop()
