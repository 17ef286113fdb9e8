"""Writes results in processes of their own.

Drawing pictures is Python from start to end; in a thread it would hold up the model's many
small steps. A saver only ever fills a new folder: putting it in place, and saying so in the
manifest, is left to the process that holds the lock, so that a saver that outlives it by a
moment can do no harm.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..case import Result
from ..errors import Sim4SegError
from ..io import explain_os_error
from ..output import save_result
from ..volume import VolumeResult
from ..volume.output import save_volume_result
from .failures import ends_batch, unexpected
from .layout import THUMBNAIL_FILE
from .thumbnail import save_thumbnail

_ATTEMPTS = 2


@dataclass(frozen=True)
class Problem:
    """Why a result could not be written.

    Attributes:
        ends_batch: whether no other could be written either, as on a full disk.
    """

    reason: str
    ends_batch: bool = False


class Saver(Protocol):
    """Writes one result at a time."""

    def save(self, result: Result | VolumeResult, folder: Path) -> Problem | None:
        """Fill a folder that does not exist yet; None if that went well."""

    def close(self) -> None:
        """No more results."""


class LocalSaver:
    """Writes in the calling thread."""

    def save(self, result: Result | VolumeResult, folder: Path) -> Problem | None:
        """See `Saver`."""
        try:
            if isinstance(result, VolumeResult):
                save_volume_result(result, folder)
            else:
                save_result(result, folder)
            save_thumbnail(result, folder / THUMBNAIL_FILE)
        except (Sim4SegError, OSError) as error:
            return problem_of(error, folder)
        except Exception as error:  # a defect must not end the other studies
            return Problem(unexpected(error))
        return None

    def close(self) -> None:
        """See `Saver`."""


class ProcessSaver:
    """Writes in a process that is started anew if it dies, and dies with this one.

    A plain child that reads pickles from its standard input: multiprocessing would import the
    main module again, which may be large, and leave the child waiting if this process is killed.
    """

    def __init__(self) -> None:
        self._process = _start()

    def save(self, result: Result | VolumeResult, folder: Path) -> Problem | None:
        """See `Saver`."""
        for _ in range(_ATTEMPTS):
            try:
                return self._exchange((result, folder))
            except (EOFError, OSError, pickle.UnpicklingError):
                self.close()
                self._process = _start()
        return Problem("the process that writes results ended twice, perhaps for lack of memory")

    def _exchange(self, work: tuple[Result | VolumeResult, Path]) -> Problem | None:
        there, back = self._process.stdin, self._process.stdout
        assert there is not None and back is not None
        pickle.dump(work, there, protocol=5)
        there.flush()
        answer: Problem | None = pickle.load(back)
        return answer

    def close(self) -> None:
        """See `Saver`."""
        for stream in (self._process.stdin, self._process.stdout):
            # Closing flushes, into a pipe that may be broken.
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
        self._process.wait()


def _start() -> subprocess.Popen[bytes]:
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    with _deaf_to_ctrl_c():
        return subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )


def problem_of(error: Sim4SegError | OSError, folder: Path) -> Problem:
    """One sentence, and whether it concerns more than this result."""
    explained = explain_os_error(error, folder, "write") if isinstance(error, OSError) else error
    return Problem(str(explained), ends_batch(error, folder.parent))


def serve() -> None:
    """A saver's process, until its standard input is closed or whoever wrote it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    saver = LocalSaver()
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as answers:
        # What a library prints must not get among the answers.
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
            while True:
                result, folder = pickle.load(sys.stdin.buffer)
                pickle.dump(saver.save(result, folder), answers, protocol=5)
                answers.flush()


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """A child inherits this; Ctrl-C is for the parent, which closes the pipes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
