"""Notices that the local service ended by itself and was started again."""

from __future__ import annotations

from collections.abc import Callable

from .connection import ServiceSettings


class ServiceWatch:
    """Compares processes, between queries that want the same service."""

    def __init__(self, pid: Callable[[], int | None]) -> None:
        """
        Args:
            pid: of the local service's process, None if it does not run.
        """
        self._pid_now = pid
        self._pid: int | None = None
        self._wanted: tuple[str, str] | None = None
        self.has_ended = False

    def begin(self, settings: ServiceSettings) -> None:
        """A query, or a test of the connection, begins."""
        self.has_ended = False
        if settings.is_local and (settings.model, settings.device) != self._wanted:
            # Another service takes the place of the one that still runs.
            self.forget()
            self._wanted = settings.model, settings.device
        else:
            self.look()

    def look(self) -> None:
        """Called while a query runs, and at its end."""
        pid = self._pid_now()
        if pid is not None:
            self.has_ended = self.has_ended or self._pid not in (None, pid)
            self._pid = pid

    def forget(self) -> None:
        """The service is ended on purpose, or somebody else may have done so."""
        self._pid = self._wanted = None
