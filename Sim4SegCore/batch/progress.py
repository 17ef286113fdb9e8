"""What the user sees while a batch runs."""

from __future__ import annotations

import time
from collections.abc import Callable

PROGRESS_SECONDS = 5.0


class Progress:
    """Tells every few seconds how far a batch is and how long it will take."""

    def __init__(
        self, total: int, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total, self._say, self._clock = total, say, clock
        self._done = self._failed = 0
        self._started = self._said = clock()

    def count(self, failed: bool) -> None:
        """One more is in the manifest."""
        self._done += 1
        self._failed += failed
        now = self._clock()
        if now - self._said < PROGRESS_SECONDS and self._done < self._total:
            return
        self._said = now
        rate = self._done / max(now - self._started, 1e-9)
        left = (self._total - self._done) / rate
        failures = f", {self._failed} failed" if self._failed else ""
        self._say(
            f"{self._done} of {self._total} queries{failures}, {60 * rate:.0f} a minute, "
            f"about {_duration(left)} left"
        )


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{round(seconds)} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
