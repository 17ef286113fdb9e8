"""Reading, answering and writing at the same time.

The calling thread asks the model, one thread reads ahead, and processes write results, each
watched by a thread that then puts the result in place and into the manifest. Images and results
under way are bounded in number and bytes.
"""

from __future__ import annotations

import os
import queue
import threading
import time
import uuid
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..case import Case, ModelIdentity, Result
from ..errors import Sim4SegError
from .failures import unexpected
from .files import remove_folder, replace_folder
from .manifest import DONE, FAILED, Manifest, Outcome
from .plan import Job, Task
from .reading import Budget, Read, read_ahead
from .saving import LocalSaver, ProcessSaver, Saver, problem_of
from .table import answer_columns


class Predictor(Protocol):
    """What answers; `Sim4SegCore.Sim4Seg` does."""

    @property
    def identity(self) -> ModelIdentity:
        """Which weights."""

    def set_image(self, image: Case) -> None:
        """Encode an image."""

    def ask(self, query: str) -> Result:
        """Answer a query about it."""


@dataclass(frozen=True)
class Settings:
    """How far the stages may run ahead of each other."""

    studies_ahead: int = 2
    """Studies read before they are needed."""
    results_behind: int = 4
    """Results not written yet."""
    memory: int = 2 << 30
    """Bytes of images and results under way; one study may have more."""
    savers: int = min(4, max(1, (os.cpu_count() or 1) // 2))
    """Processes that write results; 0 writes in this one."""


class BatchRun:
    """Does jobs, one after the other, into one output folder."""

    def __init__(
        self,
        predictor: Predictor,
        out: Path,
        manifest: Manifest,
        settings: Settings | None = None,
        progress: Callable[[Outcome], None] | None = None,
    ) -> None:
        """
        Args:
            out: must exist; the part's lock is held.
            progress: called, from another thread, after each outcome is in the manifest.
        """
        self._predictor = predictor
        self._out = out
        self._manifest = manifest
        self._settings = settings or Settings()
        self._progress = progress or (lambda outcome: None)
        self._budget = Budget(self._settings.memory)
        self._written: deque[Future[None]] = deque()
        self._savers: queue.SimpleQueue[Saver] = queue.SimpleQueue()
        self._finishing = threading.Lock()

    def run(self, jobs: Sequence[Job]) -> None:
        """Do all jobs; what one study does wrong is its outcome and stops no other.

        Raises:
            Sim4SegError: if results cannot be written any more.
            KeyboardInterrupt: after the result that is being written is in the manifest.
        """
        if not jobs:
            return
        reader = ThreadPoolExecutor(1, thread_name_prefix="read")
        savers = self._start_savers()
        writer = ThreadPoolExecutor(len(savers), thread_name_prefix="write")
        with warnings.catch_warnings():
            # Threads that silence warnings for a moment undo each other's silence, and what
            # would be heard quotes DICOM headers.
            warnings.simplefilter("ignore")
            try:
                for read in read_ahead(jobs, reader, self._budget, self._settings.studies_ahead):
                    self._answer(read, writer)
                self._wait_for_writer(at_most=0)
            finally:
                self._budget.close()
                reader.shutdown(cancel_futures=True)
                writer.shutdown(cancel_futures=True)
                for saver in savers:
                    saver.close()

    def _start_savers(self) -> list[Saver]:
        count = self._settings.savers
        savers: list[Saver] = [ProcessSaver() for _ in range(count)] or [LocalSaver()]
        for saver in savers:
            self._savers.put(saver)
        return savers

    def _wait_for_writer(self, at_most: int) -> None:
        while len(self._written) > at_most:
            self._written.popleft().result()

    def _answer(self, read: Read, writer: ThreadPoolExecutor) -> None:
        started = time.perf_counter()
        reason = read.reason if read.case is None else self._encode(read.case)
        seconds = read.seconds + time.perf_counter() - started
        tasks = read.job.tasks
        self._remove_leftovers(self._out / tasks[0].folder)
        for task in tasks:
            started = time.perf_counter()
            result, problem = (None, reason) if reason else self._ask(task)
            seconds += time.perf_counter() - started
            size = read.size if task is tasks[-1] else 0
            self._wait_for_writer(self._settings.results_behind)
            self._written.append(writer.submit(self._write, task, result, problem, seconds, size))
            seconds = 0.0

    def _encode(self, case: Case) -> str:
        """The reason if it failed, else empty."""
        try:
            self._predictor.set_image(case)
        except Sim4SegError as error:
            return str(error)
        except Exception as error:  # a defect must not end the other studies
            return unexpected(error)
        return ""

    def _ask(self, task: Task) -> tuple[Result | None, str]:
        """A result, or the reason why there is none."""
        try:
            return self._predictor.ask(task.query), ""
        except Sim4SegError as error:
            return None, str(error)
        except Exception as error:  # a defect must not end the other studies
            return None, unexpected(error)

    # ----------------------------------------------------------------- the writers' threads

    def _write(
        self, task: Task, result: Result | None, reason: str, seconds: float, size: int
    ) -> None:
        try:
            if result is not None:
                reason = self._save(task, result)
            outcome = Outcome(
                study=task.study,
                query_name=task.query_name,
                query=task.query,
                input=task.input,
                model_sha256=self._predictor.identity.sha256,
                status=FAILED if reason else DONE,
                reason=" ".join(reason.split()),
                seconds=round(seconds, 3),
                answer={} if reason or result is None else answer_columns(result),
            )
            with self._finishing:
                self._manifest.append(outcome)
                self._progress(outcome)
        finally:
            self._budget.give_back(size)

    def _save(self, task: Task, result: Result) -> str:
        """Write a task's folder; the reason if it is the study's own that this failed."""
        target = self._out / task.folder
        # Of the same name, since reasons quote it and must be the same in every run.
        new = target.parent / f".{uuid.uuid4().hex}" / target.name
        saver = self._savers.get()
        try:
            problem = saver.save(result, new)
            if problem is None:
                replace_folder(target, new)
        except OSError as error:
            problem = problem_of(error, target)
        finally:
            self._savers.put(saver)
            remove_folder(new.parent)
        if problem is None:
            return ""
        if problem.ends_batch:
            raise Sim4SegError(problem.reason)
        return problem.reason

    @staticmethod
    def _remove_leftovers(folder: Path) -> None:
        """What a killed batch left half written beside a study's results."""
        if folder.parent.is_dir():
            for leftover in folder.parent.glob(".*"):
                remove_folder(leftover)
