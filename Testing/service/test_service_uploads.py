"""Images in parts: resumed, refused, given up, and nothing left on the disk."""

import gzip
import json
import os
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import requests
from conftest import OTHER, TOKEN
from fakes import picture

from Sim4SegCore.service import app, uploads
from Sim4SegCore.service import client as client_module
from Sim4SegCore.service.client import Client, Options
from Sim4SegCore.service.config import ServiceConfig, ServiceLimits
from Sim4SegCore.service.transport import ServiceError, Transport
from Sim4SegCore.service.uploads import PrivateFolder


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(client_module, "LOCAL_PART_BYTES", 50_000)


def volume():
    return np.random.default_rng(0).integers(0, 4000, (3, 200, 300)).astype(np.int16)


def files(running):
    return list(running.hub.folder.path.glob("*.part"))


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_large_images_go_in_parts_with_progress(serve, small_parts, compression):
    running = serve()
    seen = []
    with Client(running.url, "owner-token-of-the-tests", compression=compression) as client:
        image = client.prepare_volume(volume())
        client.send(image, seen.append)
        answer = client.ask(image, "What?", Options(slice=1))
    assert np.array_equal(running.hub.images.get(image.hash).voxels, volume())
    assert np.array_equal(answer.masks[0][0], volume()[1] > volume()[1].mean())
    assert [step.stage for step in seen] == ["upload"] * 8
    assert [step.fraction for step in seen] == sorted(step.fraction for step in seen)
    assert files(running) == []


def test_an_interrupted_upload_goes_on_where_it_stood(serve, small_parts, monkeypatch):
    running = serve()
    sent = []
    original = Transport._send

    def flaky(self, method, path, json, data, headers, stream, read_s):
        if method == "PATCH":
            sent.append(int(headers["Upload-Offset"]))
            if len(sent) in (3, 5):
                # Half of the part arrives, then the line breaks.
                original(self, method, path, json, data[:25_000], headers, stream, read_s)
                raise requests.ConnectionError
        return original(self, method, path, json, data, headers, stream, read_s)

    monkeypatch.setattr(Transport, "_send", flaky)
    with running.client() as client:
        image = client.prepare_volume(volume())
        client.send(image)
    assert running.hub.images.get(image.hash) is not None
    assert sent[:6] == [0, 50_000, 100_000, 125_000, 175_000, 200_000]


def test_offsets_owners_and_ends_are_checked(serve):
    running = serve()
    with running.client() as client:
        image = client.prepare(picture())
    body = {"hash": image.hash, "description": image_description(image)}
    upload = running.call("POST", "/v1/uploads", json=body).json()["id"]
    path = f"/v1/uploads/{upload}"
    data = bytes(image.part(0, 10_000))

    def patch(offset, content):
        return running.call("PATCH", path, headers={"Upload-Offset": str(offset)}, data=content)

    assert running.call("GET", path, token=OTHER).status_code == 404
    assert patch(5, data).json()["code"] == "wrong_offset"
    assert patch(0, data + b"x").json()["code"] == "malformed"
    assert patch(-1, data).status_code == 422
    reply = patch(0, data[:100])
    assert reply.json()["offset"] == 100
    assert patch(0, data[:100]).json()["code"] == "wrong_offset"
    wrong = bytes(len(data) - 100)
    assert patch(100, wrong).json()["code"] == "hash_mismatch"
    assert running.call("GET", path).status_code == 404
    assert files(running) == []


def image_description(image):
    return json.loads(image.description.canonical())


def test_uploads_that_stand_still_are_given_up(serve):
    running = serve(config=ServiceConfig(limits=ServiceLimits(upload_idle_seconds=0.5)))
    with running.client() as client:
        image = client.prepare(picture())
    body = {"hash": image.hash, "description": image_description(image)}
    assert running.call("POST", "/v1/uploads", json=body).status_code == 201
    assert len(files(running)) == 1
    time.sleep(1.5)
    assert files(running) == []
    assert running.hub.room.free == running.hub.config.limits.receiving_bytes


def test_announcing_more_than_there_is_room_for_is_refused(serve):
    limits = ServiceLimits(receiving_bytes=1000, max_image_bytes=900)
    running = serve(config=ServiceConfig(limits=limits))
    with running.client() as client:
        image = client.prepare(picture(size=(24, 32)))
    body = {"hash": image.hash, "description": image_description(image)}
    assert running.call("POST", "/v1/uploads", json=body).status_code == 201
    assert running.call("POST", "/v1/uploads", json=body).json()["code"] == "busy"


def announced(seed=0):
    """An image and the body that announces it."""
    with Client("http://127.0.0.1:9", "t" * 20) as client:
        image = client.prepare(picture(seed))
    return image, {"hash": image.hash, "description": image_description(image)}


def test_the_end_of_a_gzip_stream_may_come_by_itself(serve, monkeypatch):
    monkeypatch.setattr(app, "INFLATE_BATCH", 1)
    running = serve()
    image, body = announced()
    packed = gzip.compress(bytes(image.part(0, 10_000)))

    def parts():
        yield packed[:-8]
        wait_for(lambda: running.hub.images.get(image.hash) is not None)
        yield packed[-8:]

    upload = running.call("POST", "/v1/uploads", json=body).json()["id"]
    headers = {"Upload-Offset": "0", "Content-Encoding": "gzip"}
    reply = running.call("PATCH", f"/v1/uploads/{upload}", headers=headers, data=parts())
    assert reply.status_code == 200, reply.text
    assert reply.json()["complete"]


def wait_for(condition, seconds=20.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def test_uploads_that_are_complete_do_not_count_and_are_soon_forgotten(serve, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_UPLOADS", 2)
    running = serve()
    path = ""
    for seed in range(4):
        image, body = announced(seed)
        reply = running.call("POST", "/v1/uploads", json=body)
        assert reply.status_code == 201, reply.text
        path = f"/v1/uploads/{reply.json()['id']}"
        data = bytes(image.part(0, 10_000))
        running.call("PATCH", path, headers={"Upload-Offset": "0"}, data=data)
    assert running.call("GET", path).json()["complete"]
    monkeypatch.setattr(uploads, "COMPLETE_SECONDS", 0.0)
    wait_for(lambda: running.call("GET", path).status_code == 404)


def test_one_token_cannot_take_all_the_room(serve):
    limits = ServiceLimits(receiving_bytes=2000)
    running = serve(config=ServiceConfig(limits=limits))
    statuses = [
        running.call("POST", "/v1/uploads", token, json=announced(seed)[1]).status_code
        for seed, token in enumerate([TOKEN, TOKEN, OTHER])
    ]
    assert statuses == [201, 429, 201]


def test_one_token_cannot_announce_all_uploads(serve, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_UPLOADS", 4)
    running = serve()
    statuses = [
        running.call("POST", "/v1/uploads", token, json=announced(seed)[1]).status_code
        for seed, token in enumerate([TOKEN, TOKEN, TOKEN, OTHER])
    ]
    assert statuses == [201, 201, 429, 201]


def test_an_upload_that_hesitates_gives_way_to_one_that_needs_its_room(serve, monkeypatch):
    limits = ServiceLimits(receiving_bytes=1000)
    running = serve(config=ServiceConfig(limits=limits))
    first, second = (announced(seed)[1] for seed in range(2))
    path = f"/v1/uploads/{running.call('POST', '/v1/uploads', json=first).json()['id']}"
    assert running.call("POST", "/v1/uploads", json=second).status_code == 429
    monkeypatch.setattr(uploads, "HESITANT_SECONDS", 0.0)
    assert running.call("POST", "/v1/uploads", json=second).status_code == 201
    assert running.call("GET", path).status_code == 404
    assert len(files(running)) == 1


def test_folders_of_killed_services_are_removed_and_of_living_ones_kept(tmp_path, monkeypatch):
    code = (
        "import sys, os, signal; from pathlib import Path\n"
        "from Sim4SegCore.service.uploads import PrivateFolder\n"
        "folder = PrivateFolder(Path(sys.argv[1])); (folder.path / 'x.part').write_bytes(b'x')\n"
        "print(folder.path, flush=True); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    left = done.stdout.strip()
    alive = PrivateFolder(tmp_path)
    long_ago = time.time() - 3600
    os.utime(left, (long_ago, long_ago))
    os.utime(alive.path, (long_ago, long_ago))
    third = PrivateFolder(tmp_path)
    assert set(tmp_path.iterdir()) == {alive.path, third.path}
    if os.name != "nt":
        assert alive.path.stat().st_mode & 0o077 == 0
    for folder in (alive, third):
        folder.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_address_is_said_clearly(serve):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with Client(url, "x" * 20) as client, pytest.raises(ServiceError, match="cannot be reached"):
        client.health()
    with serve().client("x" * 20) as client, pytest.raises(ServiceError, match="token"):
        client.health()


def test_proxies_are_used_but_not_for_this_machine(serve, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    with serve().client() as client:
        client.health()
    seen = []

    def request(self, method, url, **options):
        seen.append(options)
        raise requests.ConnectionError

    monkeypatch.setattr(requests.Session, "request", request)
    transport = Transport(lambda: ("http://ward.example", "t" * 20), ca_bundle="/ca.pem")
    with pytest.raises(ServiceError):
        transport.request("GET", "/v1/health", retries=0)
    assert seen[0]["proxies"]["http"] == "http://127.0.0.1:9"
    assert seen[0]["verify"] == "/ca.pem"
    assert seen[0]["allow_redirects"] is False
