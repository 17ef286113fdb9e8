"""A batch on Ray: machines read, answer and write at the same time; this process keeps the books.

Ray Data streams studies through three stages (`ray_stages`) and does again what was lost with a
process or a machine. Only this process moves results to their places and writes the manifest, so
that nothing counts twice, however often it was computed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..case import ModelIdentity
from ..errors import Sim4SegError
from ..ray_cluster import LOCAL, check_machines, connected, places_for_models
from .answering import Answer
from .files import remove_folder
from .manifest import FAILED, Manifest, Outcome
from .placing import put_in_place, remove_leftovers
from .plan import Job
from .ray_stages import (
    JOB,
    LOST,
    TRIES_FOLDER,
    WRITTEN,
    AnswerRows,
    ModelChoice,
    Refusal,
    Written,
    read_row,
    write_row,
)

CORES_TO_ANSWER = 0.5
"""Of each process: half of the cores answer, the others read and write."""
CORES_TO_READ = CORES_TO_WRITE = 0.4
"""Stages that take the same share are made one by Ray, and reading would wait for answering."""


class RayEngine:
    """See `Engine`."""

    def __init__(
        self, choice: ModelChoice, address: str, workers: int | None, studies: Path
    ) -> None:
        """
        Args:
            address: see `ray_cluster.connected`.
            workers: models that answer at the same time; None is one for each GPU, or without
                GPUs one for each core.
            studies: folder or table of the cohort, which all machines must see.
        """
        self._choice = choice
        self._address = address
        self._workers = workers
        self._studies = studies

    @property
    def identity(self) -> ModelIdentity:
        """See `Engine`."""
        return self._choice.identity

    def run(
        self,
        jobs: Sequence[Job],
        out: Path,
        manifest: Manifest,
        progress: Callable[[Outcome], None],
    ) -> None:
        """See `Engine`."""
        if not jobs:
            return
        # Working folders differ from machine to machine.
        jobs = [_with_absolute_path(job) for job in jobs]
        tasks = [task for job in jobs for task in job.tasks]
        out = out.resolve()
        with connected(self._address, self._workers) as ray:
            if self._address != LOCAL:
                check_machines(ray, (self._studies.resolve(), out))
            bookkeeper = _Bookkeeper(out, manifest, progress)
            remove_leftovers(out, tasks)
            try:
                self._stream(ray, jobs, bookkeeper)
            except ray.exceptions.RayError:
                raise Sim4SegError(
                    "the Ray cluster stopped working; run the same line again to go on"
                ) from None
            finally:
                remove_leftovers(out, tasks)
        if not bookkeeper.has_booked:
            raise Sim4SegError("the Ray cluster did nothing at all; look into the logs of Ray")
        bookkeeper.give_up(jobs, self.identity.sha256)

    def _stream(self, ray: Any, jobs: Sequence[Job], bookkeeper: _Bookkeeper) -> None:
        """Do jobs and book them, in the order in which they end."""
        from ray import data

        count, on_gpu = places_for_models(ray, self._choice.device)
        workers = self._workers or count
        if workers > count:
            raise Sim4SegError(f"the Ray cluster has room for {count} workers; use no more")
        with _quiet(data):
            rows = (
                # One study in each block: what is lost with a process is one study.
                data.from_items(
                    [{JOB: pickle.dumps(job)} for job in jobs], override_num_blocks=len(jobs)
                )
                .map(read_row, fn_args=(bookkeeper.out,), num_cpus=CORES_TO_READ)
                .map(
                    AnswerRows,
                    fn_constructor_args=(self._choice, bookkeeper.out),
                    compute=data.ActorPoolStrategy(
                        size=min(workers, len(jobs)), max_tasks_in_flight_per_actor=2
                    ),
                    num_cpus=CORES_TO_ANSWER,
                    num_gpus=1 if on_gpu else 0,
                )
                .map(
                    write_row,
                    fn_args=(bookkeeper.out, self.identity.sha256),
                    num_cpus=CORES_TO_WRITE,
                )
                .iter_rows()
            )
            for row in rows:
                for written in pickle.loads(row[WRITTEN]):
                    bookkeeper.book(written)


class _Bookkeeper:
    """Moves results to their places and writes the manifest."""

    def __init__(self, out: Path, manifest: Manifest, progress: Callable[[Outcome], None]) -> None:
        self.out = out
        self._manifest = manifest
        self._progress = progress
        self._booked: set[tuple[str, str]] = set()

    @property
    def has_booked(self) -> bool:
        """Whether anything is in the manifest."""
        return bool(self._booked)

    def book(self, written: Written | Refusal) -> None:
        """
        Raises:
            Sim4SegError: if nothing can be written any more.
        """
        if isinstance(written, Refusal):
            raise Sim4SegError(written.reason)
        outcome = written.outcome
        if outcome.key in self._booked:
            # The study was done a second time for another query of it.
            if written.folder is not None:
                remove_folder(written.folder.parent)
            return
        target = self.out / written.task.folder
        remove_folder(target.parent / TRIES_FOLDER)
        if written.folder is not None:
            problem = put_in_place(target, written.folder)
            if problem is not None:
                if problem.ends_batch:
                    raise Sim4SegError(problem.reason)
                outcome = dataclasses.replace(
                    outcome, status=FAILED, reason=problem.reason, answer={}
                )
        self._append(outcome)

    def give_up(self, jobs: Sequence[Job], model_sha256: str) -> None:
        """Book as failed what no process survived."""
        for job in jobs:
            for task in job.tasks:
                if task.key not in self._booked:
                    self._append(Answer(task, None, LOST, 0.0).outcome(model_sha256))

    def _append(self, outcome: Outcome) -> None:
        self._manifest.append(outcome)
        self._booked.add(outcome.key)
        self._progress(outcome)


def _with_absolute_path(job: Job) -> Job:
    study = dataclasses.replace(
        job.study,
        source=job.study.source.absolute(),
        files=tuple(file.absolute() for file in job.study.files),
    )
    return dataclasses.replace(job, study=study)


@contextlib.contextmanager
def _quiet(data: Any) -> Iterator[None]:
    """Ray Data without bars and logs, which goes on when studies are lost."""
    context = data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = -1
    log = logging.getLogger("ray.data")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with data.DataContext.current(context):
            yield
    finally:
        log.setLevel(level)
