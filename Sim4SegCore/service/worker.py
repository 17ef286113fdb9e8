"""One device, one thread, one queue: loads models, runs jobs, lets go of cancelled ones."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from ..case import Result
from ..errors import Sim4SegError
from ..out_of_memory import is_out_of_memory
from ..progress import Step
from ..volume import VolumeResult
from .caching import ByteCache, bytes_within
from .config import ServiceLimits
from .images import StoredImage
from .jobs import Job, JobBoard, JobEndedError
from .models import Load, ModelCatalog, ModelShelf, Predictor, place_of
from .modes import VOLUMETRIC, mode_of, scaling, volume_options
from .problems import ServiceProblemError, described, problem
from .protocol import DeviceStatus, Mode, ModelStatus
from .results import result_message
from .scheduling import FairQueue

LOG = logging.getLogger(__name__)
STUCK_SECONDS = 10.0
RETRY_SECONDS = 60.0
"""After which a model that could not be loaded is tried again."""
SMOOTHING = 0.3


class _Pace:
    """Seconds per slice that a job of each mode looks at, as they have been lately."""

    def __init__(self) -> None:
        self._seconds: dict[Mode, float] = {}

    def learn(self, job: Job, seconds: float) -> None:
        mode = mode_of(job.request)
        lately = seconds / _slices(job)
        known = self._seconds.get(mode, lately)
        self._seconds[mode] = known + SMOOTHING * (lately - known)

    def usual(self, jobs: Sequence[Job]) -> float | None:
        """Seconds of all of them together; None if one is of a mode never seen."""
        known = [self._seconds.get(mode_of(job.request)) for job in jobs]
        if None in known:
            return None
        return sum((pace or 0.0) * _slices(job) for pace, job in zip(known, jobs, strict=True))


class DeviceWorker:
    """Runs the jobs of one device, one after the other."""

    def __init__(
        self,
        device: str,
        load: Load,
        catalog: ModelCatalog,
        board: JobBoard,
        limits: ServiceLimits,
    ) -> None:
        self.device = device
        self.queue: FairQueue[Job] = FairQueue()
        self._catalog = catalog
        self._board = board
        self._shelf = ModelShelf(load, device, limits.max_models)
        self._encoded: ByteCache[tuple[str, str, int], Any] = ByteCache(limits.encoded_cache_bytes)
        self._current: Job | None = None
        self._pace = _Pace()
        self._warm = False
        self._failure: str | None = None
        self._thread = threading.Thread(target=self._work, name=f"worker-{device}", daemon=True)

    def start(self) -> None:
        """Begin: load the first model, then take jobs."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more jobs; the running one ends at its next step."""
        self.queue.close()
        if (current := self._current) is not None:
            self._board.fail(current, problem("stopping", "The service is stopping."))

    def submit(self, job: Job) -> None:
        """Queue a job."""
        self.queue.put(job.lane, job)

    def withdraw(self, job: Job) -> None:
        """Take a job that was ended out of the queue, if it is still there."""
        self.queue.remove(job.lane, job)

    @property
    def load(self) -> int:
        """Jobs waiting or running."""
        return len(self.queue) + (self._current is not None)

    @property
    def is_sound(self) -> bool:
        """Whether a job is likely to be answered here."""
        return self._failure is None and not self._is_stuck(self._current)

    def _is_stuck(self, current: Job | None) -> bool:
        ended = current.ended if current is not None else None
        return ended is not None and time.monotonic() - ended > STUCK_SECONDS

    def status(self) -> DeviceStatus:
        """What it is doing."""
        current = self._current
        queued = len(self.queue)
        if self._is_stuck(current):
            return DeviceStatus(self.device, "stuck", queued, "An ended job does not let go.")
        if current is not None:
            return DeviceStatus(self.device, "busy", queued)
        if self._failure is not None:
            return DeviceStatus(self.device, "failed", queued, self._failure)
        return DeviceStatus(self.device, "ready" if self._warm else "starting", queued)

    def models(self) -> list[ModelStatus]:
        """All models, with whether they are loaded here."""
        loaded = self._shelf.names()
        names = self._catalog.names()
        return [ModelStatus(name, [self.device] if name in loaded else []) for name in names]

    def remaining(self, job: Job, before: Sequence[Job] | None) -> float | None:
        """Estimated seconds to a job's end: by its own pace, else by that of others.

        Args:
            before: jobs that wait and come first; None if this one does not wait.
        """
        if job.is_final:
            return 0.0
        if job.started is not None:
            return self._rest(job)
        current = self._current
        running = 0.0 if current is None or current.started is None else self._rest(current)
        waiting = None if before is None else self._pace.usual([*before, job])
        return None if running is None or waiting is None else running + waiting

    def _rest(self, job: Job) -> float | None:
        """Of a job that was started."""
        spent = time.monotonic() - (job.started or 0.0)
        if job.fraction > 0.1:
            return spent * (1 - job.fraction) / job.fraction
        usual = self._pace.usual([job])
        return None if usual is None else max(0.0, usual - spent)

    def _work(self) -> None:
        self._warm_up()
        while (job := self._next()) is not None:
            self._current = job
            try:
                if self._board.start(job):
                    self._run(job)
            except Exception as error:
                # Whatever a job does, the next one must have its turn.
                LOG.error("a job failed unexpectedly: %s", described(error))
                self._shelf.drop(job.model)
                self._board.fail(job, problem("internal", "The job failed unexpectedly."))
            finally:
                self._current = None

    def _next(self) -> Job | None:
        """The next job; a device that gets none, as its model cannot be loaded, tries again."""
        while True:
            job = self.queue.take(None if self._failure is None else RETRY_SECONDS)
            if job is not None or self.queue.is_closed:
                return job
            self._warm_up()

    def _warm_up(self) -> None:
        try:
            name, source = self._catalog.source(None)
            self._shelf.get(name, source)
            self._warm, self._failure = True, None
        except (Sim4SegError, ServiceProblemError) as error:
            LOG.error("the first model cannot be loaded on %s: %s", self.device, error)
            self._failure = str(error)
        except Exception:
            LOG.exception("the first model cannot be loaded on %s", self.device)
            self._failure = "The first model cannot be loaded; see the service's log."

    def _run(self, job: Job) -> None:
        began = time.monotonic()
        try:
            for attempt in (1, 2):
                try:
                    self._answer(job)
                    break
                except Exception as error:
                    if not is_out_of_memory(error):
                        raise
                    LOG.warning("out of memory on %s (attempt %d)", self.device, attempt)
                    self._make_room(job.model)
                    if attempt == 2:
                        self._board.fail(job, _out_of_memory(self.device))
            self._pace.learn(job, time.monotonic() - began)
        except JobEndedError:
            LOG.info("a job was ended after %.2f s", time.monotonic() - began)
        except ServiceProblemError as error:
            self._board.fail(job, error.problem)
        except Sim4SegError as error:
            self._board.fail(job, problem("unsupported", _sentence(error)))

    def _answer(self, job: Job) -> None:
        image = job.image
        if image is None:
            raise JobEndedError
        predictor = self._predictor(job)
        self._board.check(job)
        place = place_of(predictor)

        def report(step: Step) -> None:
            self._board.report(job, step.stage, step.fraction, step.mask)

        predictor.progress = report
        try:
            result = self._ask(predictor, job, image)
        finally:
            predictor.progress = _ignore
            predictor.encoded = None
            if place_of(predictor) != place:
                self._replace(job.model)
        self._board.check(job)
        self._board.finish(job, result_message(job, result))

    def _ask(self, predictor: Predictor, job: Job, image: StoredImage) -> Result | VolumeResult:
        request = job.request
        if mode_of(request) in VOLUMETRIC:
            options = volume_options(request)
            return predictor.segment_volume(image.volume(), request.query, options)
        key = (job.model, image.hash, request.slice or 0)
        encoded = self._encoded.get(key)
        if encoded is None:
            predictor.set_image(image.case(request.slice))
        else:
            predictor.encoded = encoded
        result = predictor.ask(request.query, scaling(request, predictor.scaling))
        # Put again after every query: tiles may have been added.
        self._encoded.put(key, predictor.encoded, bytes_within(predictor.encoded))
        return result

    def _predictor(self, job: Job) -> Predictor:
        name, source = self._catalog.source(job.model)
        try:
            predictor, is_new = self._shelf.get(name, source)
        except Sim4SegError as error:
            raise ServiceProblemError(problem("model_failed", _sentence(error))) from None
        if is_new:
            # What another instance of the model encoded must not be mixed with this one's.
            self._encoded.clear()
        self._warm, self._failure = True, None
        return predictor

    def _replace(self, model: str) -> None:
        """Load a model anew that has left its device, where there may be room again."""
        LOG.warning("not enough memory on %s; a query was answered elsewhere", self.device)
        self._shelf.drop(model)
        # Of no use to what is loaded next.
        self._encoded.clear()

    def _make_room(self, model: str) -> None:
        self._encoded.clear()
        self._shelf.keep_only(model)
        gc.collect()


def _slices(job: Job) -> int:
    return job.description.shape[0] if mode_of(job.request) in VOLUMETRIC else 1


def _ignore(step: Step) -> None:
    """Nobody listens between jobs."""


def _out_of_memory(device: str) -> Any:
    return problem("out_of_memory", f"There was not enough memory on {device}.")


def _sentence(error: Sim4SegError) -> str:
    text = " ".join(str(error).split())
    return f"{text[:1].upper()}{text[1:]}."
