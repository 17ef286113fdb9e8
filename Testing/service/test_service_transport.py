"""What the client makes of strangers that answer, lines that break and services that restart."""

import http.server
import json
import ssl
import threading
import time

import pytest
import requests
from conftest import TOKEN
from fakes import FakePredictor, picture

from Sim4SegCore.service import transport
from Sim4SegCore.service.client import Client
from Sim4SegCore.service.transport import ServiceError, Transport

PAGE = b"<html>Please log in.</html>"
QUEUED = {"id": "0" * 32, "state": "queued", "revision": 0, "stage": "queued", "fraction": 0.0}


@pytest.fixture
def stranger():
    """A function that starts a server with the same replies to all: stranger({method: reply})."""
    servers = []

    def start(replies):
        class Handler(http.server.BaseHTTPRequestHandler):
            def reply(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, kind, body = replies[self.command]
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Location", "/login")
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = reply  # noqa: N815

            def log_message(self, *_):
                """Not on stderr."""

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def hasty(monkeypatch):
    """As many attempts as ever, in less time."""
    monkeypatch.setattr(transport, "LONGEST_PAUSE_S", 0.02)


@pytest.mark.parametrize(
    "reply",
    [
        (302, "text/html", PAGE),
        (304, "text/html", b""),
        (200, "text/html", PAGE),
        (200, "application/json", b"[]"),
        (404, "application/json", b"[]"),
    ],
)
def test_what_does_not_answer_as_a_service_does_is_called_foreign(stranger, reply):
    with Client(stranger({"GET": reply}), TOKEN) as client:
        for ask in (client.health, lambda: client.knows("0" * 64)):
            with pytest.raises(ServiceError, match="not as Sim4Seg does") as caught:
                ask()
            assert caught.value.problem.code == "foreign"


def test_a_page_instead_of_events_ends_the_query(stranger):
    accepted = (201, "application/json", json.dumps(QUEUED).encode())
    url = stranger({"POST": accepted, "GET": (200, "text/html", PAGE)})
    with Client(url, TOKEN) as client, pytest.raises(ServiceError, match="not as Sim4Seg does"):
        client.ask(picture(), "?", progress=lambda step: None)


@pytest.mark.parametrize("content", [None, "no certificate"])
@pytest.mark.parametrize("is_given", [True, False])
def test_a_bundle_that_cannot_be_read_is_said(tmp_path, monkeypatch, content, is_given):
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_text(content)
    if not is_given:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    given = str(bundle) if is_given else None
    client = Client("https://ward.invalid", TOKEN, ca_bundle=given)
    with client, pytest.raises(ServiceError, match="CA bundle cannot be read") as caught:
        client.health()
    assert caught.value.problem.code == "tls"


def fail_while(monkeypatch, is_away, error=requests.ConnectionError):
    """Let requests fail for as long as a function says."""
    original = Transport._send

    def send(self, method, path, *rest):
        if is_away(path):
            raise error
        return original(self, method, path, *rest)

    monkeypatch.setattr(Transport, "_send", send)


def test_a_broken_line_under_tls_is_tried_again(serve, monkeypatch, hasty):
    failures = [1, 2]
    broken = requests.exceptions.SSLError(ssl.SSLEOFError("EOF occurred in violation of protocol"))
    fail_while(monkeypatch, lambda path: failures and failures.pop(), broken)
    with serve().client() as client:
        assert client.health().devices
    assert failures == []


def away_once_it_waits(seconds):
    """Away for a time after the job was accepted."""
    began = []

    def is_away(path):
        if path.startswith("/v1/jobs/"):
            began.append(time.monotonic())
        return bool(began) and time.monotonic() - began[0] < seconds

    return is_away


@pytest.mark.parametrize("listens", [True, False])
def test_a_service_may_be_away_while_its_answer_is_awaited(serve, monkeypatch, hasty, listens):
    running = serve()
    seen = []
    with running.client() as client:
        client.send(client.prepare(picture()))
        fail_while(monkeypatch, away_once_it_waits(1.5))
        answer = client.ask(picture(), "Still?", progress=seen.append if listens else None)
    assert answer.document["query"] == "Still?"
    assert len(seen) >= 3 or not listens


def test_a_query_can_be_cancelled_while_the_service_is_away(serve, monkeypatch, hasty):
    class EnoughError(Exception):
        pass

    def stop(step):
        raise EnoughError

    running = serve(FakePredictor(seconds=5.0))
    with running.client() as client:
        client.send(client.prepare(picture()))
        fail_while(monkeypatch, away_once_it_waits(600.0))
        with pytest.raises(EnoughError):
            client.ask(picture(), "Cancelled?", progress=stop)


def test_a_service_that_stays_away_is_given_up(serve, monkeypatch, hasty):
    monkeypatch.setattr(transport, "RESTART_S", 1.0)
    with serve().client() as client:
        client.send(client.prepare(picture()))
        fail_while(monkeypatch, away_once_it_waits(600.0))
        began = time.monotonic()
        with pytest.raises(ServiceError, match="cannot be reached"):
            client.ask(picture(), "Ever?")
    assert time.monotonic() - began >= 1.0


def test_a_service_that_was_never_there_is_given_up_soon(monkeypatch, hasty):
    attempts = []
    fail_while(monkeypatch, lambda path: attempts.append(path) or True)
    client = Client("http://127.0.0.1:9", TOKEN)
    with client, pytest.raises(ServiceError, match="cannot be reached"):
        client.ask(picture(), "?", progress=lambda step: None)
    assert len(attempts) == 1 + transport.RETRIES
