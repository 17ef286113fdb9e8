"""The OpenAPI document is what the service does, and no request brings it down."""

import dataclasses
import json
import re
import socket
import threading

import pytest
from conftest import TOKEN
from fakes import FakePredictor, picture, scan
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from Sim4SegCore.service.config import ServiceConfig, ServiceLimits
from Sim4SegCore.service.protocol import JobRequest
from Sim4SegCore.volume.slice_view import AXIS_CHOICES

schemathesis = pytest.importorskip("schemathesis")

GENEROUS = ServiceConfig(
    limits=ServiceLimits(
        requests_per_second=1e6, request_burst=1e6, max_image_bytes=1 << 20, body_idle_seconds=1.0
    )
)
EXAMPLES = settings(
    max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None
)


def test_the_document_names_every_route_and_every_problem(serve):
    document = serve().call("GET", "/v1/openapi.json").json()
    operations = {
        f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item
    }
    assert operations == {
        "GET /v1/health",
        "POST /v1/images",
        "GET /v1/images/{digest}",
        "POST /v1/uploads",
        "GET /v1/uploads/{identity}",
        "PATCH /v1/uploads/{identity}",
        "POST /v1/jobs",
        "GET /v1/jobs/{identity}",
        "DELETE /v1/jobs/{identity}",
        "GET /v1/jobs/{identity}/result",
        "GET /v1/jobs/{identity}/events",
    }
    for item in document["paths"].values():
        for operation in item.values():
            problem = operation["responses"]["422"]["content"]
            assert list(problem) == ["application/problem+json"]


@pytest.mark.slow
def test_behaviour_matches_the_document(serve):
    from schemathesis import checks

    running = serve(config=GENEROUS)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    schema = schemathesis.openapi.from_url(f"{running.url}/v1/openapi.json", headers=headers)
    wanted = (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
        "negative_data_rejection",
    )
    chosen = [checks.CHECKS.get_one(name) for name in wanted]
    for operation in schema.get_all_operations():
        check_operation(operation.ok(), headers, chosen)
    assert running.call("GET", "/v1/health").status_code == 200


def check_operation(operation, headers, chosen):
    @EXAMPLES
    @given(
        case=operation.as_strategy()
        | operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)
    )
    def check(case):
        case.call_and_validate(headers=headers, checks=chosen, timeout=10)

    check()


FRAGMENTS = st.sampled_from(
    [
        b"GET /v1/health HTTP/1.1\r\n",
        b"POST /v1/images HTTP/1.1\r\n",
        b"POST /v1/jobs HTTP/1.1\r\n",
        b"PATCH /v1/uploads/%2e%2e HTTP/1.1\r\n",
        b"DELETE /v1/jobs/0 HTTP/9.9\r\n",
        f"Authorization: Bearer {TOKEN}\r\n".encode(),
        b"Host: x\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 10\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Encoding: gzip\r\n",
        b'Sim4Seg-Image: {"shape": [1, 2, 2], "dtype": "uint8"}\r\n',
        b'Sim4Seg-Image: {"shape": [[[[[[[[\r\n',
        b"Upload-Offset: 1e9\r\n",
        b"Sim4Seg-Client: \xff\xfe\r\n",
        b"Expect: 100-continue\r\n",
        b"Upgrade: websocket\r\nConnection: Upgrade\r\n",
        b"\r\n",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"ffffffffffffffff\r\n",
        b'{"image": null}',
        b"[" * 3000,
    ]
)


@pytest.mark.slow
def test_garbage_on_the_wire_never_gives_a_server_error(serve):
    running = serve(config=GENEROUS)
    host, port = running.url.removeprefix("http://").split(":")

    @settings(EXAMPLES, max_examples=300)
    @given(st.lists(FRAGMENTS | st.binary(max_size=40), min_size=1, max_size=12))
    def check(parts):
        with socket.create_connection((host, int(port)), timeout=3) as connection:
            connection.sendall(b"".join(parts))
            connection.shutdown(socket.SHUT_WR)
            reply = b""
            try:
                while chunk := connection.recv(65536):
                    reply += chunk
            except (ConnectionError, TimeoutError):
                pass
        assert not re.search(rb"HTTP/1\.1 5\d\d", reply), reply

    check()
    assert running.call("GET", "/v1/health").status_code == 200


FIELDS = [entry.name for entry in dataclasses.fields(JobRequest)]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: (
        st.lists(children, max_size=4)
        | st.dictionaries(
            st.sampled_from(FIELDS) | st.text(max_size=10),
            children,
            max_size=6,
        )
    ),
    max_leaves=12,
)


@pytest.mark.slow
def test_any_json_is_accepted_or_refused_with_a_reason(serve):
    running = serve(FakePredictor(), GENEROUS)
    with running.client() as client:
        images = [client.prepare(picture()), client.prepare(scan())]
        for image in images:
            client.send(image)
    # Most of the fields fit, so that those that do not are looked at.
    fitting = st.fixed_dictionaries(
        {"image": st.sampled_from([image.hash for image in images]), "query": st.just("?")},
        optional={
            "mode": st.sampled_from(["slice", "slices", "volume", None]),
            "slice": st.integers(-1, 7),
            "samples": st.integers(0, 65),
            "masks": st.integers(0, 9),
            "axis": st.sampled_from([*AXIS_CHOICES, "x"]),
            "key_slices": st.integers(0, 65),
        },
    )

    @settings(EXAMPLES, max_examples=300)
    @given(fitting, JSON, st.booleans())
    def check(good, value, on_top):
        body = {**good, **value} if on_top and isinstance(value, dict) else value
        if not on_top and not isinstance(value, dict):
            body = good
        reply = running.call("POST", "/v1/jobs", data=json.dumps(body).encode())
        assert reply.status_code < 500, reply.text
        if reply.status_code >= 400:
            assert reply.json()["detail"]
        else:
            running.call("DELETE", f"/v1/jobs/{reply.json()['id']}")

    check()
    with running.client() as client:
        assert client.ask(images[0], "Still there?").document["query"] == "Still there?"


def test_what_is_no_http_gets_a_problem_too(serve):
    running = serve()
    host, port = running.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(b"GET /v1/health HTTP/1.1\r\nContent-Length: -1\r\n\r\n")
        reply = b""
        while chunk := connection.recv(65536):
            reply += chunk
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert b"application/problem+json" in head
    assert json.loads(body)["code"] == "malformed"


def test_truncated_bodies_from_many_clients_leave_the_service_well(serve):
    running = serve(config=GENEROUS)
    host, port = running.url.removeprefix("http://").split(":")

    def cut():
        head = f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        for _ in range(10):
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(f'{head}Content-Length: 500\r\n\r\n{{"image": "'.encode())

    threads = [threading.Thread(target=cut) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with running.client() as client:
        assert client.ask(picture(), "Still there?").document["query"] == "Still there?"
