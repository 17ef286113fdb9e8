"""One device, one thread, one queue: loads models, runs jobs, lets go of cancelled ones."""

from __future__ import annotations

import gc
import logging
import threading
import time
from dataclasses import dataclass
from typing import Any

from ..errors import Sim4SegError
from ..progress import Step
from .caching import ByteCache, bytes_within
from .config import ServiceLimits
from .jobs import Job, JobBoard, JobEndedError
from .models import Load, ModelCatalog, ModelShelf, Predictor
from .out_of_memory import is_out_of_memory
from .problems import ServiceProblemError, problem
from .protocol import DeviceStatus, ModelStatus
from .results import result_message
from .scheduling import FairQueue

LOG = logging.getLogger(__name__)
STUCK_SECONDS = 10.0
SMOOTHING = 0.3


@dataclass
class _Pace:
    """Seconds per job, as they have been lately."""

    seconds: float | None = None

    def learn(self, seconds: float) -> None:
        known = seconds if self.seconds is None else self.seconds
        self.seconds = known + SMOOTHING * (seconds - known)


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

    def status(self) -> DeviceStatus:
        """What it is doing."""
        current = self._current
        queued = len(self.queue)
        ended = current.ended if current is not None else None
        if ended is not None and time.monotonic() - ended > STUCK_SECONDS:
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

    def remaining(self, job: Job, ahead: int | None) -> float | None:
        """Estimated seconds to a job's end: by its own pace, else by that of others."""
        usual = self._pace.seconds
        if job.is_final:
            return 0.0
        if job.started is None:
            return None if usual is None or ahead is None else (ahead + 1) * usual
        spent = time.monotonic() - job.started
        if job.fraction > 0.1:
            return spent * (1 - job.fraction) / job.fraction
        return None if usual is None else max(0.0, usual - spent)

    def _work(self) -> None:
        self._warm_up()
        while (job := self.queue.take()) is not None:
            self._current = job
            try:
                if self._board.start(job):
                    self._run(job)
            except Exception:
                # Whatever a job does, the next one must have its turn.
                LOG.exception("a job failed unexpectedly")
                self._shelf.drop(job.model)
                self._board.fail(job, problem("internal", "The job failed unexpectedly."))
            finally:
                self._current = None

    def _warm_up(self) -> None:
        try:
            name, source = self._catalog.source(None)
            self._shelf.get(name, source)
            self._warm = True
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
            self._pace.learn(time.monotonic() - began)
        except JobEndedError:
            LOG.info("a job was ended after %.2f s", time.monotonic() - began)
        except ServiceProblemError as error:
            self._board.fail(job, error.problem)
        except Sim4SegError as error:
            self._board.fail(job, problem("unsupported", _sentence(error)))

    def _answer(self, job: Job) -> None:
        predictor = self._predictor(job)
        self._board.check(job)
        key = (job.model, job.image.hash, job.request.slice or 0)
        place = _place(predictor)

        def report(step: Step) -> None:
            self._board.report(job, step.stage, step.fraction, step.mask)

        predictor.progress = report
        try:
            encoded = self._encoded.get(key)
            if encoded is None:
                predictor.set_image(job.image.case(job.request.slice))
            else:
                predictor.encoded = encoded
            result = predictor.ask(job.request.query)
            if _place(predictor) != place:
                # It fell back to another device, where what was encoded is of no use.
                self._encoded.clear()
            # Put again after every query: tiles may have been added.
            self._encoded.put(key, predictor.encoded, bytes_within(predictor.encoded))
        finally:
            predictor.progress = _ignore
            predictor.encoded = None
        self._board.check(job)
        self._board.finish(job, result_message(job, result))

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

    def _make_room(self, model: str) -> None:
        self._encoded.clear()
        self._shelf.keep_only(model)
        gc.collect()


def _ignore(step: Step) -> None:
    """Nobody listens between jobs."""


def _place(predictor: Predictor) -> str:
    return str(getattr(getattr(predictor, "model", None), "device", ""))


def _out_of_memory(device: str) -> Any:
    return problem("out_of_memory", f"There was not enough memory on {device}.")


def _sentence(error: Sim4SegError) -> str:
    text = " ".join(str(error).split())
    return f"{text[:1].upper()}{text[1:]}."
