"""Services of another version, or with another token: real HTTP, one sentence each."""

import dataclasses
import http.server
import json
import threading

import numpy as np
import pytest
from mrml_scene import affine
from services import FakeLocalService, ManualTicker
from Sim4SegLib.connection import Connection, ServiceSettings
from Sim4SegLib.queries import Queries, QueryRequest

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.service.protocol import Health

HEALTH = dataclasses.asdict(Health("1.0", "0.1.0", [], [], 0, 0, 0))


class OtherService:
    """Answers every request with one JSON document."""

    def __init__(self, document, status=200):
        outer = self
        self.requests = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests.append((self.command, self.path))
                data = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_GET

            def log_message(self, *_):
                return None

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.settings = ServiceSettings(f"http://127.0.0.1:{self.server.server_port}", "token" * 4)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def ask(scene):
    queries = Queries(lambda: scene.mrml, Connection(), ManualTicker(), lambda: None)
    voxels = np.random.default_rng(0).integers(0, 255, (4, 20, 24), dtype=np.uint8)
    volume = scene.volume(voxels, affine((1, 1, 3)))

    def run(settings, mode="slice"):
        before = scene.classes()
        try:
            return queries.wait(queries.start(QueryRequest(volume, "?", mode), settings))
        except Sim4SegError:
            assert scene.classes() == before
            raise

    return run


@pytest.mark.parametrize(
    ("document", "mode", "reason"),
    [
        ({**HEALTH, "protocol": "2.0"}, "slice", "protocol 2.0"),
        ({"something": "else"}, "slice", "versions"),
        ({name: value for name, value in HEALTH.items() if name != "modes"}, "slices", "'slices'"),
    ],
    ids=["newer", "another program", "older"],
)
def test_a_service_of_another_version_is_not_sent_an_image(ask, document, mode, reason):
    service = OtherService(document)
    try:
        with pytest.raises(Sim4SegError, match=reason):
            ask(service.settings, mode)
        assert {method for method, _ in service.requests} == {"GET"}
    finally:
        service.close()


def test_a_page_of_a_proxy_is_no_service(ask):
    service = OtherService("<html>Please log in</html>", status=403)
    try:
        with pytest.raises(Sim4SegError):
            ask(service.settings)
    finally:
        service.close()


def test_a_wrong_token_is_said_and_the_right_one_answers(ask, tmp_path):
    local = FakeLocalService(tmp_path / "service.log")
    try:
        url, token = local.endpoint()
        with pytest.raises(Sim4SegError, match=r"(?i)token"):
            ask(ServiceSettings(url, "not this one, but as long"))
        assert ask(ServiceSettings(url, token)).diagnosis.startswith("?")
    finally:
        local.stop()
