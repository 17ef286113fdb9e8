"""Connects to Ray, or starts it on this machine. Knows nothing of images and models.

Ray trusts whoever reaches its ports with everything: a cluster needs a private network or Ray's
token authentication. What is started here for this machine has a random token, binds to the
loopback address where Ray lets it, reports nothing to Ray's makers and ends with this process.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import __version__
from .errors import Sim4SegError
from .ray_guard import is_agent

LOCAL = "local"
KNOCK_S = 10.0
# What workers print may quote the headers of images; they write it to Ray's own logs.
_SILENT: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}
_LOOPBACK = {
    # Despite its name this decides everywhere whether Ray uses the machine's outward address.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # As important as this process, which waits for them.
    "RAY_worker_niceness": "0",
    "RAY_AUTH_MODE": "token",
    # One for all clusters of a process: Ray reads it once.
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}


def require_ray() -> None:
    """
    Raises:
        Sim4SegError: if Ray, which is heavy and optional, is not installed.
    """
    try:
        is_there = importlib.util.find_spec("ray") is not None
    except ValueError:
        is_there = False
    if not is_there:
        raise Sim4SegError("Ray is not installed; run: pip install 'sim4seg[ray]'")


def _import_ray(address: str) -> Any:
    """Ray, which reads the environment while it is imported."""
    os.environ.update(_QUIET)
    if address == LOCAL and "ray" not in sys.modules:
        # Whoever imported Ray before has what Ray itself does by default: a token in a file.
        os.environ.update(_LOOPBACK)
    import ray

    return ray


@contextlib.contextmanager
def connected(address: str, cores: int | None = None) -> Iterator[Any]:
    """Ray for the time of a block; a connection that this process already has is used and kept.

    Args:
        address: of a running cluster (`host:port`, or `auto` for the one on this machine), or
            `local` for one that is started here and ends with the block.
        cores: how many processes a cluster that is started here takes work for at one time;
            None is the number of processor cores.

    Raises:
        Sim4SegError: if Ray is not installed, or the cluster cannot be reached.
    """
    require_ray()
    if address != LOCAL and not _answers(address):
        raise _unusable(address)
    ray = _import_ray(address)
    if ray.is_initialized():
        yield ray
        return
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(_private_folder())
        stack.callback(ray.shutdown)
        try:
            if address == LOCAL:
                _start(ray, cores, folder)
                stack.enter_context(_guarded(folder))
            else:
                ray.init(address=address, **_SILENT)
        except Exception:
            # Ray raises anything, a bare Exception when its processes are slow to start.
            raise _unusable(address) from None
        yield ray


def _private_folder() -> tempfile.TemporaryDirectory[str]:
    """For logs, which may quote the headers of images; short, since sockets lie in it."""
    place = "/tmp" if Path("/tmp").is_dir() else None
    return tempfile.TemporaryDirectory(prefix="sim4seg-ray-", dir=place, ignore_cleanup_errors=True)


def _start(ray: Any, cores: int | None, folder: str) -> None:
    def start() -> None:
        ray.init(
            num_cpus=cores or os.cpu_count(),
            include_dashboard=False,
            _temp_dir=folder,
            **_SILENT,
        )

    with _inherited_modules():
        try:
            start()
        except Exception:
            # Ray gives its processes 30 s, too little for a cold disk or a busy machine; what the
            # first attempt has read is at hand for the second one.
            ray.shutdown()
            start()


@contextlib.contextmanager
def _guarded(folder: str) -> Iterator[None]:
    """Should this process be killed, another one ends and removes what it leaves."""
    guard = _start_guard(folder)
    try:
        yield
    finally:
        guard.kill()
        guard.communicate()


def _start_guard(folder: str) -> subprocess.Popen[bytes]:
    """Deaf to Ctrl-C."""
    import psutil  # Ray brings it along

    agents = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            for process in child.children():
                if is_agent(" ".join(process.cmdline()).encode()):
                    agents.append(str(process.pid))
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("ray_guard.py")), folder, *agents],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


def _answers(address: str) -> bool:
    """Whether somebody is there; Ray itself takes minutes to find out that nobody is."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():
        return True
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S).close()
    except OSError:
        return False
    return True


def _unusable(address: str) -> Sim4SegError:
    if address == LOCAL:
        return Sim4SegError(
            "Ray could not be started; make room in memory and /tmp, or try "
            "again when the machine is less busy"
        )
    return Sim4SegError(
        f"no Ray cluster answers at {address}; check the address, that it runs, and that Ray, "
        "Python and token are the same here and there"
    )


@contextlib.contextmanager
def _inherited_modules() -> Iterator[None]:
    """Processes that are started meanwhile find every module that this one finds."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(str(Path(place).resolve()) for place in sys.path)
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def places_for_models(ray: Any, device: str) -> tuple[int, bool]:
    """How many models a cluster has room for.

    Args:
        device: `auto`, `cpu` or `cuda`.

    Returns:
        One for each GPU, or where there is none or `cpu` is wanted one for each core; and
        whether they are GPUs.
    """
    resources = ray.cluster_resources()
    on_gpu = device != "cpu" and resources.get("GPU", 0) >= 1
    return int(resources.get("GPU" if on_gpu else "CPU", 0)), on_gpu


@dataclass(frozen=True)
class _Sight:
    """What a machine sees of the folders that all have to share."""

    version: str
    missing: str


def check_machines(ray: Any, paths: tuple[Path, ...]) -> None:
    """Make sure that each machine of the cluster that takes work can do it.

    Args:
        paths: files and folders that each must see under the same path.

    Raises:
        Sim4SegError: if one lacks Sim4Seg, has another version of it, or does not see a path.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    look = ray.remote(num_cpus=0, max_retries=1)(_look_around)
    places = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    sights = [
        look.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote([str(path) for path in paths])
        for node in places
    ]
    for node, waiting in zip(places, sights, strict=True):
        machine = node["NodeManagerHostname"]
        try:
            sight = ray.get(waiting)
        except ray.exceptions.RayError:
            raise Sim4SegError(
                f"Sim4Seg cannot be used on {machine}; install sim4seg[ray] {__version__} on "
                "every machine of the cluster"
            ) from None
        if sight.version != __version__:
            raise Sim4SegError(
                f"{machine} has Sim4Seg {sight.version}, this machine {__version__}; install the "
                "same on every machine of the cluster"
            )
        if sight.missing:
            raise Sim4SegError(
                f"{machine} does not see {sight.missing}; the machines of the cluster must share "
                "the folders of studies and results under the same paths"
            )


def _look_around(paths: list[str]) -> _Sight:
    return _Sight(__version__, next((path for path in paths if not Path(path).exists()), ""))
