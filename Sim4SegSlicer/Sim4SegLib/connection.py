"""Where queries are answered: a child process that is kept warm, or a server elsewhere."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import Sim4SegCore
from Sim4SegCore.errors import Sim4SegError

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
            raise Sim4SegError("the server's address has to begin with https:// or http://")

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
        self._environment = environment or {}
        self._given = service
        self._service: LocalService | None = service
        self._arguments: list[str] = []

    @property
    def pid(self) -> int | None:
        """Of the local process, if it runs."""
        return None if self._service is None else self._service.pid

    def client(self, settings: ServiceSettings) -> Client:
        """A client for one query; nothing is started or sent before it asks.

        Called on the main thread; the client belongs to the thread that asks with it.
        """
        # Here, since requests takes a moment that opening the module need not wait for.
        from Sim4SegCore.service import Client

        if not settings.is_local:
            return Client(settings.url, settings.token, ca_bundle=settings.certificate or None)
        return self._local(settings).client()

    def model_name(self, settings: ServiceSettings) -> str | None:
        """What a job says for the model; None takes the service's first one."""
        if settings.is_local or settings.model == EMBEDDED:
            return None
        return settings.model

    def close(self) -> None:
        """End the local process."""
        if self._service is not None:
            self._service.stop()
        self._service = self._given

    def _local(self, settings: ServiceSettings) -> LocalService:
        from Sim4SegCore.service import LocalService

        if self._given is not None:
            return self._given
        arguments = ["--model", settings.model, "--device", settings.device]
        if self._service is None or arguments != self._arguments:
            self.close()
            self._service = LocalService(
                arguments=arguments, python=python_of_slicer(), environment=self._environment
            )
            self._arguments = arguments
        return self._service


def python_of_slicer() -> str:
    """The interpreter that has Slicer's packages; outside of Slicer, this one."""
    return shutil.which("PythonSlicer") or sys.executable


def environment_of_child() -> dict[str, str]:
    """This process's, so that a child finds the same Sim4SegCore."""
    home = str(Path(Sim4SegCore.__file__).resolve().parents[1])
    known = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{home}{os.pathsep}{known}" if known else home}


def describe(health: Health) -> str:
    """One line about a service: versions, models, devices and how busy it is."""
    models = ", ".join(model.name for model in health.models) or "no model"
    devices = ", ".join(f"{device.name} ({device.state})" for device in health.devices)
    return f"Sim4Seg {health.version}: {models}; {devices}; {health.jobs} jobs"
