"""Reading, answering and writing at the same time.

The calling thread asks the model, one thread reads ahead, and processes write results, each
watched by a thread that then puts the result in place and into the manifest. Images and results
under way are bounded in number and bytes.
"""

from __future__ import annotations

import os
import queue
import threading
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..case import ModelIdentity
from ..errors import Sim4SegError
from .answering import Answer, Predictor, answers
from .files import remove_folder
from .manifest import Manifest, Outcome
from .placing import hidden_folder, put_in_place, remove_leftovers
from .plan import Job
from .reading import Budget, Read, read_ahead
from .saving import LocalSaver, Problem, ProcessSaver, Saver, problem_of


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


class LocalEngine:
    """This machine alone: one model, which is loaded already."""

    def __init__(self, predictor: Predictor, settings: Settings | None = None) -> None:
        self._predictor = predictor
        self._settings = settings

    @property
    def identity(self) -> ModelIdentity:
        """See `Engine`."""
        return self._predictor.identity

    def run(
        self,
        jobs: Sequence[Job],
        out: Path,
        manifest: Manifest,
        progress: Callable[[Outcome], None],
    ) -> None:
        """See `Engine`."""
        BatchRun(self._predictor, out, manifest, self._settings, progress).run(jobs)


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
        tasks = read.job.tasks
        remove_leftovers(self._out, tasks)
        for answer in answers(self._predictor, read):
            size = read.size if answer.task is tasks[-1] else 0
            self._wait_for_writer(self._settings.results_behind)
            self._written.append(writer.submit(self._write, answer, size))

    # ----------------------------------------------------------------- the writers' threads

    def _write(self, answer: Answer, size: int) -> None:
        try:
            problem = self._save(answer)
            if problem is not None and problem.ends_batch:
                raise Sim4SegError(problem.reason)
            not_written = "" if problem is None else problem.reason
            outcome = answer.outcome(self._predictor.identity.sha256, not_written)
            with self._finishing:
                self._manifest.append(outcome)
                self._progress(outcome)
        finally:
            self._budget.give_back(size)

    def _save(self, answer: Answer) -> Problem | None:
        """Write a task's folder; None if that went well, or there is nothing to write."""
        if answer.result is None:
            return None
        target = self._out / answer.task.folder
        new = hidden_folder(target)
        saver = self._savers.get()
        try:
            problem = saver.save(answer.result, new)
            return put_in_place(target, new) if problem is None else problem
        except OSError as error:
            return problem_of(error, target)
        finally:
            self._savers.put(saver)
            remove_folder(new.parent)
