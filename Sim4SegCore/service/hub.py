"""Wires stores, queues and workers into one service. Knows nothing of HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from .. import __version__
from . import modes
from .config import ServiceConfig
from .images import ImageStore, Room
from .jobs import Job, JobBoard, with_partial_mask
from .models import Load, ModelCatalog, load_sim4seg
from .problems import refuse
from .protocol import (
    PROTOCOL_VERSION,
    Health,
    ImageStatus,
    JobRequest,
    JobStatus,
    ModelStatus,
)
from .scheduling import Homes, Lane
from .uploads import PrivateFolder, Uploads
from .worker import DeviceWorker

SWEEP_SECONDS = 0.5


class Hub:
    """One service's state and its threads.

    hub = Hub(ServiceConfig())
    hub.start()
    """

    def __init__(
        self,
        config: ServiceConfig,
        load: Load = load_sim4seg,
        temporary: Path | None = None,
    ) -> None:
        """
        Args:
            load: makes predictors.
            temporary: where the private folder for uploads is made; None is the system's place.
        """
        limits = config.limits
        self.config = config
        self.folder = PrivateFolder(temporary)
        self.images = ImageStore(limits.image_cache_bytes)
        self.room = Room(limits.receiving_bytes)
        self.uploads = Uploads(self.folder, self.images, self.room, limits.upload_idle_seconds)
        self.board = JobBoard(limits, self._changed)
        self.catalog = ModelCatalog(config.models, config.models_folder)
        self.workers = {
            device: DeviceWorker(device, load, self.catalog, self.board, limits)
            for device in config.devices
        }
        self.waiters = Waiters()
        self._homes = Homes()
        self._stopping = threading.Event()

    def start(self) -> None:
        """Start the workers and the sweeper."""
        for worker in self.workers.values():
            worker.start()
        threading.Thread(target=self._sweep, name="sweeper", daemon=True).start()

    def stop(self) -> None:
        """End all jobs and remove what was uploaded; may be called twice."""
        self._stopping.set()
        for worker in self.workers.values():
            worker.stop()
        self.folder.remove()

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    def submit(self, lane: Lane, request: JobRequest) -> Job:
        """A new job, or the known one with the same key.

        Raises:
            ServiceProblemError: if it cannot be accepted.
        """
        image = self.images.get(request.image)
        if image is None:
            raise refuse("image_missing", "The image is not here, or not any more.")
        modes.check(request, image)
        model, _ = self.catalog.source(request.model)
        worker = self._worker(request)
        job, is_new = self.board.add(lane, request, image, model, worker.device)
        if is_new:
            worker.submit(job)
        return job

    def _worker(self, request: JobRequest) -> DeviceWorker:
        if request.device is None:
            workers = self.workers
            # One that fails each job at once would be the idlest, and get them all.
            sound = {name: worker for name, worker in workers.items() if worker.is_sound}
            loads = {name: worker.load for name, worker in (sound or workers).items()}
            return self.workers[self._homes.choose(request.image, loads)]
        if request.device not in self.workers:
            raise refuse("invalid", f"device: this service has {', '.join(self.workers)}.")
        return self.workers[request.device]

    def cancel(self, job: Job) -> None:
        """See `JobBoard.cancel`."""
        self.board.cancel(job)

    def status(self, job: Job, with_mask: bool = False) -> JobStatus:
        """A job as its owner sees it."""
        worker = self.workers[job.device]
        before = worker.queue.before(job) if job.state == "queued" else None
        ahead = None if before is None else len(before)
        status = self.board.status(job, ahead, worker.remaining(job, before))
        return with_partial_mask(status, job) if with_mask else status

    def image_status(self, digest: str) -> ImageStatus:
        """
        Raises:
            ServiceProblemError: if the image is not here.
        """
        image = self.images.get(digest)
        if image is None:
            raise refuse("image_unknown", "The image is not here, or not any more.")
        return ImageStatus(digest, image.voxels.nbytes)

    def health(self) -> Health:
        """Versions, models, devices and load."""
        loaded: dict[str, list[str]] = {name: [] for name in self.catalog.names()}
        for worker in self.workers.values():
            for model in worker.models():
                loaded.setdefault(model.name, []).extend(model.loaded_on)
        return Health(
            protocol=PROTOCOL_VERSION,
            version=__version__,
            models=[ModelStatus(name, places) for name, places in loaded.items()],
            devices=[worker.status() for worker in self.workers.values()],
            jobs=len(self.board.active()),
            images=len(self.images),
            image_bytes=self.images.size,
            modes=list(modes.MODES),
        )

    def _changed(self, job: Job) -> None:
        if job.is_final and job.started is None:
            self.workers[job.device].withdraw(job)
        self.waiters.wake(job)

    def _sweep(self) -> None:
        while not self._stopping.wait(SWEEP_SECONDS):
            self.board.sweep()
            self.uploads.sweep()


class Waiters:
    """Lets coroutines wait for changes that other threads make."""

    def __init__(self) -> None:
        self._events: dict[str, set[Callable[[], None]]] = {}
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def are_too_many(self, owner: str, limit: int) -> bool:
        """Whether no more may wait, in all or for the jobs of one owner, who has a quarter."""
        with self._lock:
            return self._counts.total() >= limit or self._counts[owner] >= max(1, limit // 4)

    @contextlib.contextmanager
    def counted(self, owner: str) -> Iterator[None]:
        """Somebody waits for the time of a block, or would, if its news were taken."""
        with self._lock:
            self._counts[owner] += 1
        try:
            yield
        finally:
            with self._lock:
                self._counts[owner] -= 1
                # Forgets owners without any.
                self._counts += Counter()

    def wake(self, job: Job) -> None:
        """Something about the job has changed; from any thread."""
        with self._lock:
            wakers = list(self._events.get(job.id, ()))
        for waker in wakers:
            waker()

    async def beyond(self, job: Job, revision: int, seconds: float) -> bool:
        """Wait until the job's revision is greater; False if the time was over before."""
        loop = asyncio.get_running_loop()
        event = asyncio.Event()

        def waker() -> None:
            # The loop may have ended while a worker is still at its last job.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(event.set)

        until = time.monotonic() + seconds
        with self._lock:
            self._events.setdefault(job.id, set()).add(waker)
        try:
            while job.revision <= revision:
                rest = until - time.monotonic()
                if rest <= 0:
                    return False
                event.clear()
                # Looked at again after clearing: the change may fall in between.
                if job.revision <= revision:
                    try:
                        await asyncio.wait_for(event.wait(), rest)
                    except asyncio.TimeoutError:
                        return False
            return True
        finally:
            self._remove(job, waker)

    def _remove(self, job: Job, waker: Callable[[], None]) -> None:
        with self._lock:
            wakers = self._events.get(job.id, set())
            wakers.discard(waker)
            if not wakers:
                self._events.pop(job.id, None)
