"""What calls to an endpoint cost, kept over restarts."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from Sim4SegCore.errors import Sim4SegError

from .journal import Journal

FIELDS = ("model", "prompt_tokens", "completion_tokens", "cost")
MILLION = 1e6


@dataclass(frozen=True)
class Price:
    """Per million tokens, in the currency of the user's choice."""

    prompt: float
    completion: float


class CostBook:
    """Counts every call that reached an endpoint; cached replies cost nothing."""

    def __init__(self, path: Path, limit: float = 0.0) -> None:
        """Args: path: JSON lines, one a call; limit: total that stops the run, 0 for none."""
        self._journal = Journal(path, FIELDS)
        self._limit = limit
        self._lock = threading.Lock()
        self.calls_now = 0

    def record(self, model: str, prompt_tokens: int, completion_tokens: int, price: Price) -> None:
        """Count one call."""
        cost = (prompt_tokens * price.prompt + completion_tokens * price.completion) / MILLION
        with self._lock:
            self.calls_now += 1
        values = (model, prompt_tokens, completion_tokens, cost)
        self._journal.append(dict(zip(FIELDS, values, strict=True)))

    def check(self) -> None:
        """Before a call.

        Raises:
            Sim4SegError: if the limit is reached.
        """
        if self._limit and self.cost >= self._limit:
            raise Sim4SegError(
                f"the calls have cost {self.cost:.2f}, the limit is {self._limit:.2f}; all answers "
                "so far are saved, raise cost_limit to go on"
            )

    @property
    def cost(self) -> float:
        """Of all runs in this folder."""
        return float(sum(record["cost"] for record in self._journal.records))

    @property
    def summary(self) -> str:
        """One line for the end of a run."""
        records = self._journal.records
        prompt = sum(record["prompt_tokens"] for record in records)
        completion = sum(record["completion_tokens"] for record in records)
        return (
            f"{self.calls_now} calls now, {len(records)} in all: {prompt} + {completion} tokens, "
            f"cost {self.cost:.4f}"
        )

    def close(self) -> None:
        """Let another run count."""
        self._journal.close()
