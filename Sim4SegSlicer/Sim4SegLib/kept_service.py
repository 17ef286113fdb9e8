"""The local service process as the module owns it: let go of without waiting, and for good."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from Sim4SegCore.errors import Sim4SegError

if TYPE_CHECKING:
    from Sim4SegCore.service import Client, LocalService
    from Sim4SegCore.service.transport import Endpoint

GRACE_S = 0.02
ENDING_S = 10.0


class KeptService:
    """Gives clients, until it is let go."""

    def __init__(self, service: LocalService, ending: Sequence[threading.Thread] = ()) -> None:
        """
        Args:
            ending: of those before, see `let_go`; two models may not fit on one graphics card.
        """
        self._service = service
        self._ending = list(ending)
        self._is_let_go = threading.Event()

    @property
    def pid(self) -> int | None:
        """Of the process, if it runs and is still ours."""
        return None if self._is_let_go.is_set() else self._service.pid

    def client(self) -> Client:
        """See `LocalService.client`; it fails once the service is let go."""
        from Sim4SegCore.service import Client

        return Client(endpoint=self._endpoint)

    def let_go(self) -> threading.Thread:
        """End the process; comes back before it has ended.

        Returns:
            What waits for its end, which takes seconds; of a service that is just starting, until
            it has started.
        """
        self._is_let_go.set()
        thread = threading.Thread(target=self._service.stop, name="sim4seg-stop", daemon=True)
        thread.start()
        # In Slicer threads run only while the main thread waits; here the process is asked to go.
        thread.join(GRACE_S)
        return thread

    def _endpoint(self) -> Endpoint:
        for thread in self._ending:
            thread.join(ENDING_S)
        self._check()
        endpoint = self._service.endpoint()
        if self._is_let_go.is_set():
            # It was let go while it started, and nobody else would end it.
            self._service.stop()
        self._check()
        return endpoint

    def _check(self) -> None:
        if self._is_let_go.is_set():
            raise Sim4SegError("the local service was stopped; ask again")
