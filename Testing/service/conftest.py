"""A real server on a loopback port, in a thread of this process, with a predictor of the test's."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
import uvicorn

sys.path.insert(0, str(Path(__file__).parent))

from fakes import FakePredictor

from Sim4SegCore.service.client import Client
from Sim4SegCore.service.config import ServiceConfig
from Sim4SegCore.service.hub import Hub
from Sim4SegCore.service.security import TokenBook
from Sim4SegCore.service.server import listen, uvicorn_config

TOKEN = "owner-token-of-the-tests"
OTHER = "another-token-of-the-tests"
MONITOR = "monitor-token-of-the-tests"


@dataclass
class Running:
    """A service that can be asked."""

    url: str
    hub: Hub
    tokens: TokenBook

    def client(self, token: str = TOKEN) -> Client:
        return Client(self.url, token)

    def call(self, method: str, path: str, token: str | None = TOKEN, **options):
        headers = dict(options.pop("headers", {}))
        if token is not None:
            headers.setdefault("Authorization", f"Bearer {token}")
        return requests.request(method, f"{self.url}{path}", headers=headers, timeout=20, **options)


@contextlib.contextmanager
def running(config: ServiceConfig, load: Callable, temporary: Path) -> Iterator[Running]:
    """Serve for the time of a block."""
    book = TokenBook(
        {"owner": (TOKEN, "user"), "other": (OTHER, "user"), "watcher": (MONITOR, "monitor")}
    )
    hub = Hub(config, load, temporary)
    listener = listen(config)
    server = uvicorn.Server(uvicorn_config(config, hub, book))
    hub.start()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield Running(f"http://127.0.0.1:{listener.getsockname()[1]}", hub, book)
    finally:
        server.should_exit = True
        hub.stop()
        thread.join(10)


@pytest.fixture
def serve(tmp_path):
    """A function that starts a service: serve(predictor or load function, config)."""
    with contextlib.ExitStack() as stack:

        def start(predictor=None, config=None, load=None):
            predictor = predictor or FakePredictor()
            load = load or (lambda source, device: predictor)
            return stack.enter_context(running(config or ServiceConfig(), load, tmp_path))

        yield start
