"""Jobs and what becomes of them. Knows neither HTTP nor models."""

from __future__ import annotations

import dataclasses
import math
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .config import ServiceLimits
from .images import StoredImage
from .problems import problem, refuse
from .protocol import (
    FINAL_STATES,
    ImageDescription,
    JobRequest,
    JobState,
    JobStatus,
    Problem,
    encode_array,
)
from .scheduling import Lane


class JobEndedError(Exception):
    """Raised inside a running job whose end was decided elsewhere."""


@dataclass(eq=False)
class Job:
    """One query on its way; changed only by the JobBoard.

    Attributes:
        image: None once it has ended: it may be large, and results are kept for long.
        deadline: monotonic time at which it fails; there is none before a job has started whose
            client named none.
        result: the finished ResultMessage as JSON.
    """

    id: str
    lane: Lane
    request: JobRequest
    image: StoredImage | None
    description: ImageDescription
    model: str
    device: str
    deadline: float
    state: JobState = "queued"
    stage: str = "queued"
    fraction: float = 0.0
    revision: int = 0
    started: float | None = None
    ended: float | None = None
    problem: Problem | None = None
    result: bytes | None = None
    partial: NDArray[np.bool_] | None = field(default=None, repr=False)

    @property
    def is_final(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in FINAL_STATES


class JobBoard:
    """Every job's state, with limits; methods may be called from any thread."""

    def __init__(self, limits: ServiceLimits, on_change: Callable[[Job], None]) -> None:
        """
        Args:
            on_change: called after each change, on the thread that made it.
        """
        self._limits = limits
        self._on_change = on_change
        self._jobs: dict[str, Job] = {}
        self._keys: dict[tuple[Lane, str], str] = {}
        self._heard: dict[Lane, float] = {}
        self._lock = threading.RLock()

    def add(
        self, lane: Lane, request: JobRequest, image: StoredImage, model: str, device: str
    ) -> tuple[Job, bool]:
        """A new job, or the one with the same key.

        Returns:
            The job, and whether it is new.

        Raises:
            ServiceProblemError: if the client or the service has too many, or the key is in use for
                something else.
        """
        with self._lock:
            self._heard[lane] = time.monotonic()
            known = self._same_key(lane, request)
            if known is not None:
                return known, False
            self._check_room(lane)
            seconds = math.inf if request.timeout_s is None else request.timeout_s
            job = Job(
                secrets.token_hex(16),
                lane,
                request,
                image,
                image.description,
                model,
                device,
                time.monotonic() + seconds,
            )
            self._jobs[job.id] = job
            if request.key is not None:
                self._keys[lane, request.key] = job.id
            return job, True

    def _same_key(self, lane: Lane, request: JobRequest) -> Job | None:
        if request.key is None:
            return None
        known = self._jobs.get(self._keys.get((lane, request.key), ""))
        if known is not None and known.request != request:
            raise refuse("invalid", "key: it is in use for another query.")
        return known

    def _check_room(self, lane: Lane) -> None:
        active = [job for job in self._jobs.values() if not job.is_final]
        if sum(job.lane == lane for job in active) >= self._limits.max_jobs_per_client:
            raise refuse("queue_full", "You have as many unfinished jobs as are allowed.")
        if len(active) >= self._limits.max_jobs:
            raise refuse("queue_full", "The service has as many unfinished jobs as it takes.")
        while len(self._jobs) >= self._limits.max_jobs:
            self._forget_oldest()

    def find(self, owner: str | None, identity: str) -> Job:
        """
        Args:
            owner: whose job it must be; None for any.

        Raises:
            ServiceProblemError: if there is no such job.
        """
        job = self._jobs.get(identity)
        if job is None or owner not in (None, job.lane[0]):
            raise refuse("job_unknown", "There is no such job, or its result was removed.")
        return job

    def start(self, job: Job) -> bool:
        """The worker takes it; False if it was ended before."""
        with self._lock:
            if job.is_final:
                return False
            job.state, job.stage, job.started = "running", "load", time.monotonic()
            if job.request.timeout_s is None:
                job.deadline = job.started + self._limits.job_seconds
        self._changed(job)
        return True

    def report(
        self, job: Job, stage: str, fraction: float, mask: NDArray[np.bool_] | None = None
    ) -> None:
        """The worker's sign of life.

        Raises:
            JobEndedError: if the job was cancelled, or its time is over.
        """
        self.check(job)
        if (stage, fraction) == (job.stage, job.fraction) and mask is None:
            return
        with self._lock:
            job.stage, job.fraction = stage, max(job.fraction, fraction)
            job.partial = mask if mask is not None else job.partial
        self._changed(job)

    def check(self, job: Job) -> None:
        """
        Raises:
            JobEndedError: if the job was cancelled, or its time is over.
        """
        if not job.is_final and time.monotonic() > job.deadline:
            self.fail(job, problem("timed_out", "The job took longer than it was allowed to."))
        if job.is_final:
            raise JobEndedError

    def finish(self, job: Job, result: bytes) -> None:
        """The worker has the result; it is dropped if the job was ended meanwhile."""
        self._end(job, "done", None, result)

    def fail(self, job: Job, reason: Problem) -> None:
        """The job ends without a result."""
        self._end(job, "failed", reason, None)

    def cancel(self, job: Job) -> None:
        """End a job that is not finished; forget one that is."""
        if job.is_final:
            self._forget(job)
            return
        self._end(job, "cancelled", problem("cancelled", "The job was cancelled."), None)

    def _end(self, job: Job, state: JobState, reason: Problem | None, result: bytes | None) -> None:
        with self._lock:
            if job.is_final:
                return
            job.state = job.stage = state
            job.problem, job.result, job.ended = reason, result, time.monotonic()
            job.fraction = 1.0 if state == "done" else job.fraction
            job.image = job.partial = None
        self._changed(job)

    def _changed(self, job: Job) -> None:
        with self._lock:
            job.revision += 1
        self._on_change(job)

    def status(self, job: Job, ahead: int | None, remaining: float | None) -> JobStatus:
        """As the owner sees it, without a partial mask; a sign that somebody wants it."""
        self._heard[job.lane] = time.monotonic()
        return JobStatus(
            id=job.id,
            state=job.state,
            revision=job.revision,
            stage=job.stage,
            fraction=round(job.fraction, 4),
            remaining_s=None if remaining is None else round(remaining, 2),
            ahead=ahead,
            problem=job.problem,
        )

    def sweep(self) -> None:
        """End what is too late or not wanted any more; remove results that are old, or too many."""
        now = time.monotonic()
        late = problem("timed_out", "The job took longer than it was allowed to.")
        with self._lock:
            jobs = list(self._jobs.values())
            lanes = {job.lane for job in jobs}
            self._heard = {lane: at for lane, at in self._heard.items() if lane in lanes}
        for job in jobs:
            if not job.is_final and now > job.deadline:
                self.fail(job, late)
            elif not job.is_final and now - self._heard[job.lane] > self._limits.unheard_seconds:
                self._end(job, "cancelled", problem("cancelled", "Its client has gone away."), None)
            elif job.ended is not None and now - job.ended > self._limits.result_seconds:
                self._forget(job)
        self._keep_within_budget()

    def _keep_within_budget(self) -> None:
        """Forget the oldest results, but never the newest one: somebody is about to fetch it."""
        with self._lock:
            kept = [job for job in self._jobs.values() if job.result is not None]
            kept.sort(key=lambda job: job.ended or 0.0, reverse=True)
            total = 0
            for number, job in enumerate(kept):
                total += len(job.result or b"")
                if number > 0 and total > self._limits.result_bytes:
                    self._forget(job)

    def active(self) -> list[Job]:
        """Jobs that wait or run."""
        with self._lock:
            return [job for job in self._jobs.values() if not job.is_final]

    def __len__(self) -> int:
        return len(self._jobs)

    def _forget_oldest(self) -> None:
        finished = [job for job in self._jobs.values() if job.is_final]
        self._forget(min(finished, key=lambda job: job.ended or 0.0))

    def _forget(self, job: Job) -> None:
        with self._lock:
            self._jobs.pop(job.id, None)
            if job.request.key is not None:
                self._keys.pop((job.lane, job.request.key), None)


def with_partial_mask(status: JobStatus, job: Job) -> JobStatus:
    """The status with the job's first mask, if it has one and asked for it."""
    mask = job.partial
    if mask is None or not job.request.partial_masks:
        return status
    return dataclasses.replace(status, partial_mask=encode_array(mask[np.newaxis]))
