"""What was done, line by line: the memory that survives a kill at any point.

A line is appended and flushed to the disk after the result's folder is in place. A line that a
kill or a power cut left incomplete counts for nothing: its work is done again.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from ..io import explain_os_error
from .plan import Key, Task

DONE = "done"
FAILED = "failed"


@dataclass(frozen=True)
class Outcome:
    """How a task ended, and for which input, query and model.

    Attributes:
        status: `done` or `failed`.
        reason: one sentence for what failed, else "".
        seconds: reading and encoding (in a study's first query) and answering.
        answer: columns of the table, see `table.answer_columns`; empty if it failed.
    """

    study: str
    query_name: str
    query: str
    input: str
    model_sha256: str
    status: str
    reason: str
    seconds: float
    answer: dict[str, Any]

    @property
    def key(self) -> Key:
        """The task's."""
        return self.study, self.query_name

    def is_of(self, task: Task, model_sha256: str) -> bool:
        """Whether the task still means the same input, query and model."""
        mine = (self.key, self.query, self.input, self.model_sha256)
        return mine == (task.key, task.query, task.input, model_sha256)


class Manifest:
    """An append-only file of outcomes, one JSON object a line; later lines win.

    Whoever opens it holds the part's lock. Not for several threads.
    """

    def __init__(self, path: Path) -> None:
        """
        Raises:
            Sim4SegError: if the file cannot be read or written.
        """
        self._path = path
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
            data = path.read_bytes()
            whole = data[: data.rfind(b"\n") + 1]
            self._length = len(whole)
            os.ftruncate(self._handle, self._length)
        except OSError as error:
            raise explain_os_error(error, path, "write") from error
        self._outcomes = {outcome.key: outcome for outcome in parse(whole.split(b"\n"))}

    @property
    def outcomes(self) -> dict[Key, Outcome]:
        """The latest of each task."""
        return self._outcomes

    def append(self, outcome: Outcome) -> None:
        """Returns once the line is on the disk.

        Raises:
            Sim4SegError: if it could not be written; the file is then as it was.
        """
        line = json.dumps(dataclasses.asdict(outcome)).encode() + b"\n"
        try:
            os.lseek(self._handle, self._length, os.SEEK_SET)
            if os.write(self._handle, line) != len(line):
                # A full disk takes what fits; the next attempt names the reason.
                os.write(self._handle, line)
                raise OSError(None, "the line came out incomplete")
            os.fsync(self._handle)
        except OSError as error:
            os.ftruncate(self._handle, self._length)
            raise explain_os_error(error, self._path, "write") from error
        self._length += len(line)
        self._outcomes[outcome.key] = outcome

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._handle)

    def __enter__(self) -> Manifest:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def parse(lines: Iterable[bytes]) -> list[Outcome]:
    """Outcomes in order; lines that are none, as a power cut leaves them, are left out."""
    outcomes = []
    for line in lines:
        try:
            outcome = Outcome(**json.loads(line))
        except (ValueError, TypeError, RecursionError):
            continue
        if _is_sound(outcome):
            outcomes.append(outcome)
    return outcomes


def _is_sound(outcome: Outcome) -> bool:
    texts = (outcome.study, outcome.query_name, outcome.query, outcome.input, outcome.reason)
    return (
        all(isinstance(text, str) for text in (*texts, outcome.model_sha256))
        and outcome.status in (DONE, FAILED)
        and isinstance(outcome.seconds, int | float)
        and isinstance(outcome.answer, dict)
    )


def load_outcomes(path: Path) -> dict[Key, Outcome]:
    """The latest outcome of each task in a manifest that nobody writes to.

    Raises:
        Sim4SegError: if it cannot be read.
    """
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except OSError as error:
        raise explain_os_error(error, path, "read") from None
    return {outcome.key: outcome for outcome in parse(lines)}
