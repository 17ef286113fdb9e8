"""The process: socket, TLS, log, ready line, and the end, which comes when the parent goes.

Run by `sim4seg serve`. Ready before torch is imported: models are loaded on the workers' threads
while clients already connect.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import logging.handlers
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..errors import Sim4SegError
from .app import create_app
from .config import ServiceConfig
from .hub import Hub
from .models import Load, load_sim4seg
from .problems import problem
from .protocol import PROTOCOL_VERSION
from .security import TokenBook

LOG = logging.getLogger(__name__)
LOG_BYTES = 2_000_000
LOG_FILES = 4
PARENT_POLL_S = 0.25
GRACE_S = 1.0
BACKLOG = 512


def serve(
    config: ServiceConfig,
    tokens: TokenBook,
    announce: Callable[[str], None],
    parent_pipe: int | None = None,
    load: Load = load_sim4seg,
    on_hangup: Callable[[], None] | None = None,
) -> None:
    """Serve until interrupted, terminated, or, as a child, until the parent goes away.

    Args:
        announce: called with the URL once connections are accepted.
        parent_pipe: a file descriptor that the parent holds open as long as it lives.
        load: makes predictors.
        on_hangup: called, on a thread of its own, when the process gets the signal SIGHUP.

    Raises:
        Sim4SegError: if the address cannot be used or TLS files are no good.
    """
    _set_up_log(config)
    listener = listen(config)
    hub = Hub(config, load)
    server = _Server(uvicorn_config(config, hub, tokens))
    url = _url(config, listener)
    server.on_started = lambda: announce(url)
    if parent_pipe is not None:
        _end_with_parent(parent_pipe, server, hub)
    if on_hangup is not None and os.name != "nt":
        signal.signal(
            signal.SIGHUP, lambda *_: threading.Thread(target=on_hangup, daemon=True).start()
        )
    hub.start()
    LOG.info("serving protocol %s", PROTOCOL_VERSION)
    with _ended_by_sigterm(server):
        try:
            server.run(sockets=[listener])
        finally:
            hub.stop()
            LOG.info("stopped")
    if parent_pipe is not None:
        _leave()


class _Server(uvicorn.Server):
    """Tells when it accepts connections."""

    on_started: Callable[[], None] = staticmethod(lambda: None)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self.on_started()


@contextlib.contextmanager
def _ended_by_sigterm(server: uvicorn.Server) -> Iterator[None]:
    """Let what follows `run` happen: uvicorn raises the signal again, which ends the process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> None:
        server.should_exit = True

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def quiet_protocol(seconds: float) -> type[H11Protocol]:
    """uvicorn's protocol, which by itself never gives up on a connection that says nothing.

    Nor on one that has begun a request, or sends the body of one that was answered already.
    """

    class QuietProtocol(H11Protocol):
        def connection_made(self, transport: object) -> None:
            super().connection_made(transport)  # type: ignore[arg-type]
            self._silence: asyncio.TimerHandle | None = None
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def _watch(self) -> None:
            """Bytes do not extend the time, so that a request cannot be sent without end."""
            is_asking = self.cycle is not None and not self.cycle.response_complete
            if is_asking:
                self._stop_watching()
            elif self._silence is None:
                self._silence = self.loop.call_later(seconds, self._give_up)

        def _stop_watching(self) -> None:
            if self._silence is not None:
                self._silence.cancel()
                self._silence = None

        def _give_up(self) -> None:
            if not self.transport.is_closing():
                self.transport.close()

        def send_400_response(self, msg: str) -> None:
            """What cannot be parsed never reaches the application, and gets its kind of answer."""
            reason = problem("malformed", "The request is not valid HTTP.")
            body = json.dumps(dataclasses.asdict(reason)).encode()
            headers = [
                (b"content-type", b"application/problem+json"),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
            ]
            for event in (
                h11.Response(status_code=reason.status, headers=headers, reason=b"Bad Request"),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
            self.transport.close()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_watching()
            super().connection_lost(exc)

    return QuietProtocol


def uvicorn_config(config: ServiceConfig, hub: Hub, tokens: TokenBook) -> uvicorn.Config:
    limits = config.limits
    try:
        made = uvicorn.Config(
            create_app(hub, tokens),
            http=quiet_protocol(limits.silent_seconds),
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=2 * limits.max_header_bytes,
            ssl_certfile=None if config.certificate is None else str(config.certificate),
            ssl_keyfile=None if config.key is None else str(config.key),
        )
        made.load()
    except OSError:
        raise Sim4SegError(
            "the certificate and key cannot be used; give PEM files that belong together"
        ) from None
    return made


def listen(config: ServiceConfig) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # Only of sockets that say they are TCP does asyncio switch off Nagle's algorithm, which
        # with delayed acknowledgements costs 40 ms for each request.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        if os.name != "nt":
            # On Windows this would let another process take the port over.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        raise Sim4SegError(
            f"cannot listen on {config.host} port {config.port}: {error.strerror}; "
            "choose another port or host"
        ) from None
    return listener


def _url(config: ServiceConfig, listener: socket.socket) -> str:
    port = listener.getsockname()[1]
    host = f"[{config.host}]" if ":" in config.host else config.host
    scheme = "http" if config.certificate is None else "https"
    return f"{scheme}://{host}:{port}"


def _set_up_log(config: ServiceConfig) -> None:
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if config.log_file is not None:
        try:
            config.log_file.parent.mkdir(parents=True, exist_ok=True)
            handler = logging.handlers.RotatingFileHandler(
                config.log_file, maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8"
            )
        except OSError:
            raise Sim4SegError(f"cannot write the log {config.log_file}") from None
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    # Libraries that talk about files and addresses are heard only when something is wrong.
    for chatty in ("httpx", "urllib3", "PIL", "transformers"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _end_with_parent(pipe: int, server: uvicorn.Server, hub: Hub) -> None:
    """The pipe ends with the parent however it dies; its id changes where a pipe was inherited."""
    parent = os.getppid()
    gone = threading.Event()

    def read() -> None:
        with contextlib.suppress(OSError):
            while os.read(pipe, 4096):
                pass
        gone.set()

    def watch() -> None:
        while not gone.wait(PARENT_POLL_S) and os.getppid() == parent:
            pass
        LOG.info("the parent has gone")
        server.should_exit = True
        time.sleep(GRACE_S)
        # A device call cannot be interrupted, and nobody is left to wait for it.
        hub.stop()
        _leave()

    threading.Thread(target=read, name="parent-pipe", daemon=True).start()
    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def _leave() -> None:
    """End at once: tidying up after torch takes seconds, and leaves nothing behind either way."""
    logging.shutdown()
    os._exit(0)


def ready_line(url: str) -> str:
    """What a child prints once on stdout."""
    return json.dumps({"url": url, "protocol": PROTOCOL_VERSION, "pid": os.getpid()})
