"""One protocol for local and remote use: a service that keeps a model warm, and its client.

`Client` and `LocalService` need numpy and requests only; the service itself needs the `service`
extra and is started by `sim4seg serve`. Importing this package imports neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .answers import RemoteAnswer
    from .client import Client, Options
    from .local import LocalService
    from .transport import ServiceError

__all__ = ["Client", "LocalService", "Options", "RemoteAnswer", "ServiceError"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from . import answers, client, local, transport

        rooms = {"LocalService": local, "RemoteAnswer": answers, "ServiceError": transport}
        return getattr(rooms.get(name, client), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
