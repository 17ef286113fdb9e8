"""Starts the review page on this machine."""

from __future__ import annotations

import secrets
import socket

import uvicorn

from Sim4SegCore.errors import Sim4SegError

from .app import create_app
from .store import ReviewStore

HOST = "127.0.0.1"
TOKEN_BYTES = 16


def serve(store: ReviewStore, port: int = 0) -> None:
    """Serve until interrupted; prints the address, which holds the session's random token.

    Args:
        port: 0 for a free one.

    Raises:
        Sim4SegError: if the port is taken.
    """
    token = secrets.token_urlsafe(TOKEN_BYTES)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        try:
            listener.bind((HOST, port))
            # Before the address is told, so that who opens it at once waits and is not refused.
            listener.listen()
        except OSError as error:
            raise Sim4SegError(f"cannot use port {port}: {error.strerror}") from None
        print(f"http://{HOST}:{listener.getsockname()[1]}/{token}/", flush=True)
        print("Open this address in a browser; Ctrl-C ends the review.", flush=True)
        # No access log: it would repeat the token in every line.
        config = uvicorn.Config(create_app(store, token), log_level="warning", access_log=False)
        uvicorn.Server(config).run(sockets=[listener])
