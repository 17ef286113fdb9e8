"""How a service is set up."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import Sim4SegError

MIB = 1 << 20


@dataclass(frozen=True)
class ServiceLimits:
    """What one service, and one client of it, may use."""

    max_image_bytes: int = 2048 * MIB
    """Voxels of one image."""
    image_cache_bytes: int = 4096 * MIB
    """Images kept; the least recently used go first."""
    receiving_bytes: int = 4096 * MIB
    """Images that are being received at any moment."""
    encoded_cache_bytes: int = 2048 * MIB
    """What models computed for images, per device."""
    max_models: int = 2
    """Models kept in memory, per device."""
    max_body_bytes: int = 64 * 1024
    """A body that is not an image."""
    max_header_bytes: int = 32 * 1024
    max_jobs_per_client: int = 64
    """Waiting or running."""
    max_jobs: int = 4096
    """Known at one time, finished ones included."""
    result_bytes: int = 512 * MIB
    result_seconds: float = 900.0
    """How long a result is kept."""
    job_seconds: float = 600.0
    """Time-out of jobs that name none, from their start on: waiting is not their fault."""
    unheard_seconds: float = 90.0
    """Jobs of a client that asks about none of its jobs for so long are cancelled."""
    upload_idle_seconds: float = 600.0
    body_idle_seconds: float = 20.0
    """A body that stops arriving for so long is given up."""
    silent_seconds: float = 30.0
    """A connection that sends no request for so long is closed."""
    requests_per_second: float = 500.0
    """Of one token, however many clients use it."""
    request_burst: float = 1000.0
    wrong_tokens_per_second: float = 5.0
    wrong_token_burst: float = 50.0
    max_streams: int = 256
    """Clients that follow events or wait for a job; of one token's jobs at most a quarter."""

    def __post_init__(self) -> None:
        if min(vars(self).values()) <= 0:
            raise Sim4SegError("every limit of the service must be greater than zero")


@dataclass(frozen=True)
class ServiceConfig:
    """One service.

    Attributes:
        host: an address or name to listen on.
        port: 0 is any free one.
        models: name -> folder, hub id, or None for the embedded checkpoint; the first is used
            where a client names none.
        models_folder: each checkpoint folder inside is a model too, also when it comes later.
        devices: one worker each.
        certificate, key: PEM files for TLS.
        behind_proxy: allow other hosts without TLS, since a proxy on this machine adds it.
        log_file: rotating; None logs to stderr.
    """

    host: str = "127.0.0.1"
    port: int = 0
    models: dict[str, str | None] = field(default_factory=lambda: {"embedded": None})
    models_folder: Path | None = None
    devices: tuple[str, ...] = ("auto",)
    certificate: Path | None = None
    key: Path | None = None
    behind_proxy: bool = False
    log_file: Path | None = None
    limits: ServiceLimits = field(default_factory=ServiceLimits)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise Sim4SegError(f"there is no port {self.port}; use 0 to 65535")
        if (self.certificate is None) != (self.key is None):
            raise Sim4SegError("TLS needs both a certificate and a key file")
        for file in (self.certificate, self.key):
            if file is not None and not file.is_file():
                raise Sim4SegError(f"no file {file}; TLS needs PEM files")
        if not self.is_loopback and self.certificate is None and not self.behind_proxy:
            raise Sim4SegError(
                f"listening on {self.host} without TLS would show images to the network; give "
                "--certificate and --key, or --behind-proxy if a proxy adds TLS"
            )
        if not self.models and self.models_folder is None:
            raise Sim4SegError("a service needs at least one model")
        if len(set(self.devices)) != len(self.devices) or not self.devices:
            raise Sim4SegError("name each device once")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
