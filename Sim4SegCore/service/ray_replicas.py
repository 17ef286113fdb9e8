"""Replicas of the model as Ray Serve applications, one for each of the service's devices.

Each is an application of its own, since the service routes by image: Serve keeps it running,
starts it anew when it dies, and lets it finish its query before it is replaced. Serve's own HTTP
entrance stays closed; the only one is the service's, with its tokens and limits.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Generator, Iterator
from typing import Any

from ..errors import Sim4SegError
from ..ray_cluster import LOCAL, check_machines, connected, places_for_models
from ..scaling_config import ScalingConfig
from .config import ServiceLimits
from .models import Load, Predictor
from .remote import RemotePredictor, ReplicaLostError
from .replica import Asked, Failure, Message, Replica

LOG = logging.getLogger(__name__)
PREFIX = "ray:"
CORES_OF_A_REPLICA = 0.5
QUERIES_AT_ONCE = 4
"""One is worked on; others may be cancelled ones that have not noticed it yet."""
HEALTH_SECONDS = 1.0
DRAIN_SECONDS = 60.0


class RayReplicas:
    """Starts replicas when they are first used, restarts and ends them."""

    def __init__(self, ray: Any, load: Load, device: str, limits: ServiceLimits) -> None:
        """
        Args:
            ray: connected.
            load: must be importable on every machine.
            device: of each replica: `auto`, `cpu` or `cuda`.
        """
        self._ray = ray
        self._load = load
        self._device = device
        self._limits = limits
        self.places, self._on_gpu = places_for_models(ray, device)
        self._handles: dict[str, Any] = {}
        self._first_sources: dict[str, str | None] = {}
        self._starting: dict[str, threading.Lock] = {}
        self._restarting = threading.Lock()

    def load(self, source: str | None, device: str) -> Predictor:
        """See `models.Load`; the device is one of `names`."""
        self._first_sources.setdefault(device, source)
        return RemotePredictor(_ServeChannel(self, device), source)

    def handle(self, name: str) -> Any:
        """Of a replica, which is started if need be.

        Raises:
            ReplicaLostError: if it cannot be started.
        """
        known = self._handles.get(name)
        if known is not None:
            # It also leads to what replaces the replica, so that no query waits for that here.
            return known
        with self._starting_of(name):
            if name not in self._handles:
                self._handles[name] = self._start(name)
            return self._handles[name]

    def restart(self) -> None:
        """Replace one replica after the other; its queries wait or are asked again meanwhile.

        The next one is replaced when the one before has loaded its first model again.
        """
        with self._restarting:
            for name in list(self._handles):
                LOG.info("restarting %s", name)
                with contextlib.suppress(ReplicaLostError):
                    with self._starting_of(name):
                        self._handles[name] = self._start(name)
                    self._warm_up(name)

    def close(self) -> None:
        """End all replicas."""
        from ray import serve

        for name in list(self._handles):
            with contextlib.suppress(Exception):
                serve.delete(_application(name))

    def _starting_of(self, name: str) -> threading.Lock:
        return self._starting.setdefault(name, threading.Lock())

    def _warm_up(self, name: str) -> None:
        if name in self._first_sources:
            prepared = _ServeChannel(self, name).prepare(self._first_sources[name])
            if isinstance(prepared, Failure):
                LOG.warning("%s cannot load its first model: %s", name, prepared.kind)

    def _start(self, name: str) -> Any:
        from ray import serve

        deployment = serve.deployment(Replica).options(
            name="model",
            num_replicas=1,
            max_ongoing_requests=QUERIES_AT_ONCE,
            health_check_period_s=HEALTH_SECONDS,
            graceful_shutdown_timeout_s=DRAIN_SECONDS,
            graceful_shutdown_wait_loop_s=0.2,
            ray_actor_options={
                "num_cpus": CORES_OF_A_REPLICA,
                "num_gpus": 1 if self._on_gpu else 0,
            },
        )
        bound = deployment.bind(
            self._load, self._device, self._limits.encoded_cache_bytes, self._limits.max_models
        )
        try:
            return serve.run(bound, name=_application(name), route_prefix=None)
        except (RuntimeError, TimeoutError, self._ray.exceptions.RayError) as error:
            LOG.warning("%s cannot be started: %s", name, type(error).__name__)
            raise ReplicaLostError from None


class _ServeChannel:
    """See `Channel`."""

    def __init__(self, replicas: RayReplicas, name: str) -> None:
        self._replicas = replicas
        self._name = name

    def prepare(self, source: str | None) -> ScalingConfig | Failure:
        handle = self._replicas.handle(self._name)
        with _lost_is_lost():
            prepared: ScalingConfig | Failure = handle.prepare.remote(source).result()
        return prepared

    def ask(self, asked: Asked) -> Generator[Message, None, None]:
        handle = self._replicas.handle(self._name).options(stream=True)
        with _lost_is_lost():
            response = handle.ask.remote(asked)
            try:
                yield from response
            finally:
                response.cancel()


@contextlib.contextmanager
def _lost_is_lost() -> Iterator[None]:
    from ray.exceptions import RayError
    from ray.serve.exceptions import RayServeException

    try:
        yield
    except (RayError, RayServeException) as error:
        LOG.warning("a replica was lost: %s", type(error).__name__)
        raise ReplicaLostError from None


def _application(name: str) -> str:
    """The same after a restart of the service, which so takes over what it left behind."""
    return f"sim4seg-{name.removeprefix(PREFIX)}"


@contextlib.contextmanager
def ray_replicas(
    address: str, load: Load, device: str, limits: ServiceLimits
) -> Iterator[RayReplicas]:
    """Replicas on a cluster for the time of a block.

    Args:
        address: see `ray_cluster.connected`.

    Raises:
        Sim4SegError: if the cluster cannot be used.
    """
    with connected(address) as ray:
        from ray import serve

        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        if address != LOCAL:
            check_machines(ray, ())
        try:
            serve.start(proxy_location="Disabled")
        except (RuntimeError, ray.exceptions.RayError):
            raise Sim4SegError("Ray Serve could not be started on the cluster") from None
        replicas = RayReplicas(ray, load, device, limits)
        try:
            yield replicas
        finally:
            replicas.close()
            if address == LOCAL:
                serve.shutdown()
