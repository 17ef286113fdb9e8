"""Where queries are answered: a child process that is kept warm, or a server elsewhere."""

from __future__ import annotations

import ipaddress
import os
import shutil
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import Sim4SegCore
from Sim4SegCore.errors import Sim4SegError

from .installer import check_packages
from .kept_service import KeptService

if TYPE_CHECKING:
    from Sim4SegCore.service import Client, LocalService
    from Sim4SegCore.service.protocol import Health

EMBEDDED = "embedded"
AUTOMATIC = "auto"


@dataclass(frozen=True)
class ServiceSettings:
    """Which service is asked.

    Attributes:
        url: of a server; empty is a private process on this machine.
        token: of the server.
        certificate: PEM file with what signed the server's certificate; empty is the system's.
        model: local: embedded, a checkpoint folder or a hub id; server: a name that it offers.
        device: local: auto, cpu, cuda:N or mps.
    """

    url: str = ""
    token: str = ""
    certificate: str = ""
    model: str = EMBEDDED
    device: str = AUTOMATIC

    def __post_init__(self) -> None:
        if self.url and not self.url.startswith(("https://", "http://")):
            raise Sim4SegError("the server's address has to begin with https://")
        if self.url.startswith("http://") and not _is_this_computer(self.url):
            raise Sim4SegError(
                "over http:// others could read the image and the token; give the server's "
                "https:// address"
            )

    @property
    def is_local(self) -> bool:
        """Whether the images stay on this machine."""
        return not self.url


class Connection:
    """Makes clients; owns the local process, which lives until `close` or other settings."""

    def __init__(
        self, service: LocalService | None = None, environment: dict[str, str] | None = None
    ) -> None:
        """
        Args:
            service: used for local queries whatever the settings are; None starts what they say.
            environment: of the local process, added to this one's.
        """
        self.environment = dict(environment or {})
        self._given = service
        self._kept: KeptService | None = None
        self._arguments: list[str] = []
        self._ending: list[threading.Thread] = []

    @property
    def pid(self) -> int | None:
        """Of the local process, if it runs."""
        return None if self._kept is None else self._kept.pid

    def client(self, settings: ServiceSettings) -> Client:
        """A client for one query; nothing is started or sent before it asks.

        Called on the main thread; the client belongs to the thread that asks with it.

        Raises:
            Sim4SegError: if packages of the local service are missing.
        """
        if settings.is_local:
            return self._local(settings).client()
        # Here, since requests takes a moment that opening the module need not wait for.
        from Sim4SegCore.service import Client

        return Client(settings.url, settings.token, ca_bundle=settings.certificate or None)

    def model_name(self, settings: ServiceSettings) -> str | None:
        """What a job says for the model; None takes the service's first one."""
        if settings.is_local or settings.model == EMBEDDED:
            return None
        return settings.model

    def close(self) -> None:
        """End the local process, without waiting for its end; see `wait_until_closed`."""
        if self._kept is not None:
            self._ending = [each for each in self._ending if each.is_alive()]
            self._ending.append(self._kept.let_go())
        self._kept = None

    def wait_until_closed(self, timeout_s: float) -> bool:
        """Wait for processes that were let go; whether all have ended. Not for the main thread."""
        until = time.monotonic() + timeout_s
        for thread in list(self._ending):
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._ending)

    def _local(self, settings: ServiceSettings) -> KeptService:
        arguments = ["--model", settings.model, "--device", settings.device]
        if self._kept is None or (self._given is None and arguments != self._arguments):
            self.close()
            self._kept = KeptService(self._given or self._service(arguments), self._ending)
            self._arguments = arguments
        return self._kept

    def _service(self, arguments: list[str]) -> LocalService:
        check_packages()
        from Sim4SegCore.service import LocalService

        return LocalService(
            arguments=arguments, python=python_of_slicer(), environment=self.environment
        )


def python_of_slicer() -> str:
    """The interpreter that has Slicer's packages; outside of Slicer, this one."""
    return shutil.which("PythonSlicer") or sys.executable


def environment_of_child(added: dict[str, str] | None = None) -> dict[str, str]:
    """This process's, so that a child finds the same Sim4SegCore.

    Args:
        added: see `Connection.environment`.
    """
    home = str(Path(Sim4SegCore.__file__).resolve().parents[1])
    known = os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        **(added or {}),
        "PYTHONPATH": f"{home}{os.pathsep}{known}" if known else home,
    }


def describe(health: Health) -> str:
    """One line about a service: versions, models, devices and how busy it is."""
    models = ", ".join(model.name for model in health.models) or "no model"
    devices = ", ".join(f"{device.name} ({device.state})" for device in health.devices)
    return f"Sim4Seg {health.version}: {models}; {devices}; {health.jobs} jobs"


def _is_this_computer(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
