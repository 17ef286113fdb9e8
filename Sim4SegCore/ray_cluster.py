"""Connects to Ray, or starts it on this machine. Knows nothing of images and models.

Ray trusts whoever reaches its ports with everything: a cluster needs a private network or Ray's
token authentication. What is started here for this machine has a random token, binds to the
loopback address where Ray lets it, reports nothing to Ray's makers and ends with this process.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import __version__
from .errors import Sim4SegError
from .ray_guard import is_agent

LOCAL = "local"
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}
_LOOPBACK = {
    # Despite its name this decides everywhere whether Ray uses the machine's outward address.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    # One for all clusters of a process: Ray reads it once.
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}


def import_ray(address: str) -> Any:
    """Ray, which is heavy and optional, and reads the environment while it is imported.

    Args:
        address: what it is going to be used for, see `connected`.

    Raises:
        Sim4SegError: if it is not installed.
    """
    os.environ.update(_QUIET)
    if address == LOCAL and "ray" not in sys.modules:
        # Whoever imported Ray before has what Ray itself does by default: a token in a file.
        os.environ.update(_LOOPBACK)
    try:
        import ray
    except ImportError:
        raise Sim4SegError("Ray is not installed; run: pip install 'sim4seg[ray]'") from None
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
    ray = import_ray(address)
    if ray.is_initialized():
        yield ray
        return
    try:
        _connect(ray, address, cores)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError):
        raise Sim4SegError(
            "Ray could not be started on this machine"
            if address == LOCAL
            else f"no Ray cluster answers at {address}; check the address, that it runs, and that "
            "Ray, Python and token are the same here and there"
        ) from None
    guard = _start_guard() if address == LOCAL else None
    try:
        yield ray
    finally:
        ray.shutdown()
        if guard is not None:
            guard.kill()
            guard.communicate()


def _start_guard() -> subprocess.Popen[bytes]:
    """Does what `shutdown` does, should this process be killed; deaf to Ctrl-C."""
    import psutil  # Ray brings it along

    grandchildren = [
        process for child in psutil.Process().children() for process in child.children()
    ]
    agents = [
        str(process.pid)
        for process in grandchildren
        if is_agent(" ".join(process.cmdline()).encode())
    ]
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("ray_guard.py")), *agents],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


def _connect(ray: Any, address: str, cores: int | None) -> None:
    # What workers print may quote the headers of images; they write it to Ray's own logs.
    common: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if address == LOCAL:
        with _inherited_modules():
            ray.init(num_cpus=cores or os.cpu_count(), include_dashboard=False, **common)
    else:
        ray.init(address=address, **common)


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
