"""What must not get in: wrong tokens, others' jobs, bombs, lies about size, paths, floods."""

import contextlib
import gzip
import json
import socket
import time

import numpy as np
import pytest
from conftest import MONITOR, OTHER, TOKEN
from fakes import FakePredictor, picture

from Sim4SegCore import Sim4SegError
from Sim4SegCore.service.config import ServiceConfig, ServiceLimits
from Sim4SegCore.service.protocol import content_hash, describe
from Sim4SegCore.service.security import RateLimiter, TokenBook
from Sim4SegCore.service.transport import ServiceError

MIB = 1 << 20


def described(case=None):
    """Description header and body of an image."""
    description, voxels = describe(case or picture())
    return {"Sim4Seg-Image": description.canonical().decode()}, voxels.tobytes()


def is_problem(reply, status, code):
    assert reply.status_code == status, reply.text
    assert reply.headers["Content-Type"] == "application/problem+json"
    values = reply.json()
    assert values["code"] == code
    assert values["status"] == status
    assert values["detail"] and values["action"]
    return values


@pytest.mark.parametrize("path", ["/v1/health", "/v1/openapi.json", "/v1/nothing", "/"])
@pytest.mark.parametrize("token", [None, "", "wrong", f"{TOKEN}x", TOKEN[:-1], "\xe9" * 20])
def test_nothing_is_shown_without_a_token(serve, path, token):
    headers = {} if token is None else {"Authorization": f"Bearer {token}".encode("latin-1")}
    reply = serve().call("GET", path, token=None, headers=headers)
    is_problem(reply, 401, "unauthorized")
    assert reply.headers["WWW-Authenticate"] == "Bearer"


def test_ten_thousand_wrong_tokens_are_slowed_down_and_the_right_one_is_not(serve):
    running = serve()
    address = tuple(running.url.removeprefix("http://").split(":"))
    statuses = set()
    with socket.create_connection(address) as connection:
        file = connection.makefile("rb")
        for start in range(0, 10_000, 100):
            connection.sendall(
                b"".join(
                    b"GET /v1/health HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %d\r\n\r\n" % n
                    for n in range(start, start + 100)
                )
            )
            for _ in range(100):
                statuses.add(read_status(file))
    assert statuses == {401, 429}
    assert running.call("GET", "/v1/health").status_code == 200


def read_status(file):
    """Read one response; return its status."""
    status = int(file.readline().split()[1])
    length = 0
    while (line := file.readline()) not in (b"\r\n", b""):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    file.read(length)
    return status


def test_roles_and_owners_are_kept_apart(serve):
    running = serve()
    with running.client() as client:
        image = client.prepare(picture())
        client.send(image)
    job = running.call("POST", "/v1/jobs", json={"image": image.hash, "query": "Mine?"}).json()
    for method, path in (("GET", ""), ("GET", "/result"), ("GET", "/events"), ("DELETE", "")):
        reply = running.call(method, f"/v1/jobs/{job['id']}{path}", token=OTHER)
        is_problem(reply, 404, "job_unknown")
    assert running.call("GET", "/v1/health", token=MONITOR).status_code == 200
    for method, path in (("GET", f"/v1/jobs/{job['id']}"), ("GET", f"/v1/images/{image.hash}")):
        is_problem(running.call(method, path, token=MONITOR), 403, "forbidden")
    headers, body = described()
    reply = running.call("POST", "/v1/images", token=MONITOR, headers=headers, data=body)
    is_problem(reply, 403, "forbidden")


def test_other_sites_scripts_get_no_permission(serve):
    running = serve()
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    preflight = running.call("OPTIONS", "/v1/jobs", headers=headers)
    simple = running.call("GET", "/v1/health", headers=headers)
    for reply in (preflight, simple):
        assert not [name for name in reply.headers if name.lower().startswith("access-control")]
    assert preflight.status_code == 405


def test_wrong_hash_length_and_encoding_are_refused(serve):
    running = serve()
    headers, body = described()

    def post(data, **more):
        return running.call("POST", "/v1/images", headers={**headers, **more}, data=data)

    is_problem(post(body, **{"Sim4Seg-Hash": "0" * 64}), 422, "hash_mismatch")
    is_problem(post(body, **{"Sim4Seg-Hash": "../etc/passwd"}), 422, "invalid")
    is_problem(post(body[:-1]), 400, "truncated")
    is_problem(post(body + b"x"), 400, "malformed")
    is_problem(post(body, **{"Content-Encoding": "br"}), 415, "unsupported_encoding")
    is_problem(post(body, **{"Content-Encoding": "gzip"}), 400, "malformed")
    packed = gzip.compress(body)
    is_problem(post(packed[:-9], **{"Content-Encoding": "gzip"}), 400, "truncated")
    is_problem(post(packed + b"xx", **{"Content-Encoding": "gzip"}), 400, "malformed")
    assert post(packed, **{"Content-Encoding": "gzip"}).status_code == 200
    assert running.hub.room.free == running.hub.config.limits.receiving_bytes


def test_a_decompression_bomb_stops_where_the_image_ends(serve):
    import psutil

    running = serve()
    headers, body = described()
    bomb = gzip.compress(bytes(400 * MIB), 1)
    before = psutil.Process().memory_info().rss
    reply = running.call(
        "POST", "/v1/images", headers={**headers, "Content-Encoding": "gzip"}, data=bomb
    )
    is_problem(reply, 400, "malformed")
    assert psutil.Process().memory_info().rss - before < 50 * MIB
    upload = running.call("POST", "/v1/uploads", json=announced(body, headers)).json()["id"]
    part = {"Upload-Offset": "0", "Content-Encoding": "gzip"}
    reply = running.call("PATCH", f"/v1/uploads/{upload}", headers=part, data=bomb)
    is_problem(reply, 400, "malformed")
    assert psutil.Process().memory_info().rss - before < 50 * MIB


def announced(body, headers):
    description, _ = describe(picture())
    return {
        "hash": content_hash(description, body),
        "description": json.loads(headers["Sim4Seg-Image"]),
    }


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [1, 65536, 65537]},
        {"shape": [0, 4, 4]},
        {"shape": [4, 4]},
        {"shape": [1, 4, -4]},
        {"shape": [1, 4, 4.5]},
        {"shape": "1,4,4"},
        {"shape": [True, 4, 4]},
        {"dtype": "object"},
        {"dtype": "O8"},
        {"dtype": "complex64"},
        {"channels": 2},
        {"modality": "../../etc"},
        {"window": [0]},
        {"geometry": {"spacing": [1, 1, 0], "origin": [0, 0, 0], "direction": [1] * 9}},
        {"geometry": {"spacing": [1, 1, 1], "origin": [0, 0], "direction": [1] * 9}},
        {"file": "/etc/passwd"},
        {"patient": "Doe^John"},
    ],
)
def test_wrong_descriptions_are_refused_without_being_repeated(serve, change):
    headers, body = described()
    values = {**json.loads(headers["Sim4Seg-Image"]), **change}
    headers = {"Sim4Seg-Image": json.dumps(values)}
    reply = serve().call("POST", "/v1/images", headers=headers, data=body)
    is_problem(reply, 422, "invalid")
    assert "Doe" not in reply.text and "etc" not in reply.text


def test_dimensions_beyond_the_limit_take_no_memory(serve):
    running = serve(config=ServiceConfig(limits=ServiceLimits(max_image_bytes=MIB)))
    headers, body = described()
    values = {**json.loads(headers["Sim4Seg-Image"]), "shape": [1, 2048, 2048]}
    headers = {"Sim4Seg-Image": json.dumps(values)}
    is_problem(running.call("POST", "/v1/images", headers=headers, data=body), 413, "too_large")
    request = {"hash": "0" * 64, "description": values}
    is_problem(running.call("POST", "/v1/uploads", json=request), 413, "too_large")
    is_problem(running.call("POST", "/v1/images", data=bytes(2 * MIB)), 413, "too_large")
    is_problem(running.call("POST", "/v1/jobs", data=bytes(MIB)), 413, "too_large")
    chunked = running.call("POST", "/v1/jobs", data=iter([b" " * 50_000] * 4))
    is_problem(chunked, 413, "too_large")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/images/../../../../etc/passwd",
        "/v1/images/..%2f..%2f..%2fetc%2fpasswd",
        "/v1/images/%00",
        "/v1/jobs/" + "a" * 5000,
        "/v1/uploads/..%5c..%5cwindows",
        "//etc/passwd",
    ],
)
def test_paths_lead_nowhere(serve, path):
    reply = serve().call("GET", path)
    assert 400 <= reply.status_code < 500
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert "root:" not in reply.text


def test_models_are_named_and_never_paths(serve, tmp_path):
    running = serve()
    with running.client() as client:
        image = client.prepare(picture())
        client.send(image)
    for model in (str(tmp_path), "../x", "..", "a/b", "C:\\x"):
        body = {"image": image.hash, "query": "?", "model": model}
        is_problem(running.call("POST", "/v1/jobs", json=body), 422, "invalid")


def test_huge_headers_are_refused_and_the_service_answers(serve):
    running = serve()
    is_problem(
        running.call("GET", "/v1/health", headers={"X-Long": "x" * 40_000}),
        431,
        "headers_too_large",
    )
    host, port = running.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        reply = b""
        # Without an end of the headers; the connection is closed long before a gigabyte.
        with contextlib.suppress(ConnectionError):
            connection.sendall(b"GET /v1/health HTTP/1.1\r\nHost: x\r\nX-Long: ")
            for _ in range(10_000):
                connection.sendall(b"x" * 100_000)
            pytest.fail("endless headers were accepted")
        with contextlib.suppress(ConnectionError):
            reply = connection.recv(12)
        assert reply in (b"", b"HTTP/1.1 400")
    assert running.call("GET", "/v1/health").status_code == 200


def test_a_flood_of_requests_is_slowed_down_by_token(serve):
    limits = ServiceLimits(requests_per_second=5, request_burst=10)
    running = serve(config=ServiceConfig(limits=limits))
    statuses = [running.call("GET", "/v1/health").status_code for _ in range(30)]
    assert statuses.count(429) > 5
    assert statuses[:5] == [200] * 5
    assert running.call("GET", "/v1/health", token=OTHER).status_code == 200


def test_a_client_cannot_queue_without_end(serve):
    limits = ServiceLimits(max_jobs_per_client=3)
    running = serve(FakePredictor(seconds=2, steps=50), ServiceConfig(limits=limits))
    with running.client() as client:
        image = client.prepare(picture())
        client.send(image)
    body = {"image": image.hash, "query": "?"}
    replies = [running.call("POST", "/v1/jobs", json=body) for _ in range(4)]
    assert [reply.status_code for reply in replies] == [201, 201, 201, 429]
    is_problem(replies[3], 429, "queue_full")
    assert running.call("POST", "/v1/jobs", token=OTHER, json=body).status_code == 201


def test_connections_that_say_nothing_are_closed_and_hurt_nobody(serve):
    limits = ServiceLimits(silent_seconds=1.0)
    running = serve(config=ServiceConfig(limits=limits))
    host, port = running.url.removeprefix("http://").split(":")
    silent = [socket.create_connection((host, int(port))) for _ in range(200)]
    with running.client() as client:
        client.ask(picture(), "Warm?")
        began = time.monotonic()
        client.ask(picture(), "Anyone?")
        assert time.monotonic() - began < 30
    for connection in silent:
        connection.settimeout(5)
        assert connection.recv(1) == b""
        connection.close()


def test_one_token_cannot_take_all_the_streams(serve):
    limits = ServiceLimits(max_streams=8)
    running = serve(FakePredictor(seconds=60, steps=600), ServiceConfig(limits=limits))
    with running.client() as client:
        image = client.prepare(picture())
        client.send(image)
    body = {"image": image.hash, "query": "?"}
    mine, theirs = (
        running.call("POST", "/v1/jobs", token, json=body).json()["id"] for token in (TOKEN, OTHER)
    )
    with contextlib.ExitStack() as streams:

        def follow(token, job):
            reply = running.call("GET", f"/v1/jobs/{job}/events", token, stream=True)
            streams.callback(reply.close)
            if reply.status_code == 200:
                # It counts when something has come, until what reads it is closed.
                lines = reply.iter_lines()
                streams.callback(lines.close)
                next(lines)
            return reply.status_code

        assert [follow(TOKEN, mine) for _ in range(3)] == [200, 200, 429]
        assert follow(OTHER, theirs) == 200


@pytest.mark.parametrize("rest", [b"GET /v1/he", b"x"])
def test_what_is_begun_and_not_ended_after_an_answer_is_closed(serve, rest):
    limits = ServiceLimits(silent_seconds=0.5)
    host, port = serve(config=ServiceConfig(limits=limits)).url.removeprefix("http://").split(":")
    first = b"POST /v1/health HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        # A body of ten bytes of which one comes, or none and half a request after it.
        connection.sendall(first % (10 if rest == b"x" else 0))
        file = connection.makefile("rb")
        assert read_status(file) == 401
        connection.sendall(rest)
        assert file.read(1) == b""


def test_connections_with_pauses_between_requests_are_kept(serve):
    limits = ServiceLimits(silent_seconds=0.5)
    host, port = serve(config=ServiceConfig(limits=limits)).url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        file = connection.makefile("rb")
        for _ in range(3):
            connection.sendall(b"GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_status(file) == 401
            time.sleep(0.8)


def test_a_body_that_stops_arriving_is_given_up(serve):
    limits = ServiceLimits(body_idle_seconds=0.5)
    running = serve(config=ServiceConfig(limits=limits))
    headers, body = described()
    host, port = running.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        head = f"POST /v1/images HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        head += f"Sim4Seg-Image: {headers['Sim4Seg-Image']}\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body[:100])
        assert read_status(connection.makefile("rb")) == 400
    assert running.hub.room.free == running.hub.config.limits.receiving_bytes


def test_images_with_nan_are_refused_before_they_wait(serve):
    with serve().client() as client:
        image = client.prepare_volume(np.full((1, 4, 4), np.nan, np.float32))
        with pytest.raises(ServiceError, match="NaN"):
            client.ask(image, "?")


def test_logs_name_no_query_image_or_token(serve, caplog):
    caplog.set_level("DEBUG")
    case = picture()
    with serve().client() as client:
        image = client.prepare(case)
        client.ask(image, "Is this John Doe?")
        with pytest.raises(ServiceError):
            client.ask(image, "x" * 1001)
    own = "\n".join(
        record.getMessage() for record in caplog.records if record.name.startswith("Sim4Seg")
    )
    assert "/v1/jobs" in own
    for secret in ("John", image.hash, TOKEN, "xxx"):
        assert secret not in own


def test_logs_of_defects_name_places_and_repeat_no_message(serve, caplog, monkeypatch):
    def fails(case, query):
        raise KeyError(f"{query} John Doe")

    running = serve(FakePredictor(fails=fails))
    with running.client() as client, pytest.raises(ServiceError, match="unexpectedly"):
        client.ask(picture(), "Who?")
    monkeypatch.setattr(running.hub, "health", lambda: fails(None, "Where?"))
    is_problem(running.call("GET", "/v1/health"), 500, "internal")
    text = caplog.text
    assert "Doe" not in text and "Who?" not in text
    assert text.count("KeyError in") == text.count(" fails\n") == 2


def test_token_files_are_checked(tmp_path):
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps({"ward": {"token": "w" * 20, "role": "user"}}))
    path.chmod(0o644)
    with pytest.raises(Sim4SegError, match="chmod 600"):
        TokenBook.from_file(path)
    path.chmod(0o600)
    assert TokenBook.from_file(path).verify("Bearer " + "w" * 20).name == "ward"
    assert TokenBook.from_file(path).verify("Basic " + "w" * 20) is None
    for content in ("[]", "{", '{"a": {"token": "short", "role": "user"}}', '{"a": 1}'):
        path.write_text(content)
        with pytest.raises(Sim4SegError):
            TokenBook.from_file(path)


def test_networks_need_tls_or_a_proxy():
    for host in ("0.0.0.0", "192.168.1.5", "ward.example"):
        with pytest.raises(Sim4SegError, match="TLS"):
            ServiceConfig(host=host)
        ServiceConfig(host=host, behind_proxy=True)
    for host in ("127.0.0.1", "::1", "localhost"):
        ServiceConfig(host=host)


def test_rates_recover_with_time():
    now = [0.0]
    limiter = RateLimiter(2, 3, clock=lambda: now[0])
    assert [limiter.allows("a") for _ in range(4)] == [True, True, True, False]
    assert limiter.allows("b")
    now[0] = 0.5
    assert [limiter.allows("a"), limiter.allows("a")] == [True, False]
