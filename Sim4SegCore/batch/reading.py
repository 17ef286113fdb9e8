"""Reads the next studies while the present one is answered, within a budget of memory."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass

from ..case import Case
from ..errors import Sim4SegError
from ..io import read_case, read_volume_case
from ..volume import VolumeCase
from .dicom_files import read_series_slice, read_series_volume
from .failures import unexpected
from .plan import Job
from .studies import Study

_BYTES_PER_PIXEL, _BYTES_PER_VOXEL = 5, 1
"""Of a result: mask and float32 similarity, of volumes the mask alone."""


class Budget:
    """How many bytes of images may be under way at once; one image always may."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._closed = False
        self._changed = threading.Condition()

    def take(self, amount: int) -> None:
        """Wait until there is room.

        Raises:
            Sim4SegError: if the budget was closed.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or not self._used or self._used + amount <= self._limit
            )
            if self._closed:
                raise Sim4SegError("the batch was stopped")
            self._used += amount

    def give_back(self, amount: int) -> None:
        """What was taken."""
        with self._changed:
            self._used -= amount
            self._changed.notify_all()

    def close(self) -> None:
        """Nobody waits any longer."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


@dataclass(frozen=True)
class Read:
    """A study off the disk.

    Attributes:
        case: None if it could not be read; `reason` then says why.
        size: bytes of the image and of one result, 0 without a case.
    """

    job: Job
    case: Case | VolumeCase | None
    reason: str
    size: int
    seconds: float


def read_ahead(
    jobs: Sequence[Job], executor: Executor, budget: Budget, ahead: int
) -> Iterator[Read]:
    """Studies in order, the next `ahead` being read meanwhile."""
    waiting: deque[Future[Read]] = deque()
    for job in jobs:
        waiting.append(executor.submit(_read, job, budget))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _read(job: Job, budget: Budget) -> Read:
    read = read_study(job)
    if read.case is not None:
        budget.take(read.size)
    return read


def read_study(job: Job) -> Read:
    """Read a study; what goes wrong is the reason in what is returned."""
    started = time.perf_counter()
    case: Case | VolumeCase | None = None
    reason, size = "", 0
    try:
        case = _read_volume(job.study) if job.asking.is_about_volumes else _read_image(job.study)
        size = _bytes_of(case)
    except Sim4SegError as error:
        reason = str(error)
    except Exception as error:  # a defect must not end the other studies
        reason = unexpected(error)
    return Read(job, case, reason, size, time.perf_counter() - started)


def _read_image(study: Study) -> Case:
    if study.files:
        return read_series_slice(study.source, study.files, study.slice_index)
    return read_case(study.source, slice_index=study.slice_index)


def _read_volume(study: Study) -> VolumeCase:
    if study.files:
        return read_series_volume(study.source, study.files)
    return read_volume_case(study.source)


def _bytes_of(case: Case | VolumeCase) -> int:
    """Of the image and one result."""
    if isinstance(case, VolumeCase):
        return case.voxels.nbytes + _BYTES_PER_VOXEL * math.prod(case.shape)
    return case.image.nbytes + _BYTES_PER_PIXEL * math.prod(case.size)
