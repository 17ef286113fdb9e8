"""The same service with its models on Ray: same answers, whichever replica dies or is replaced."""

import argparse
import asyncio
import contextlib
import importlib.util
import os
import signal
import threading
import time
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from conftest import MONITOR, running
from fakes import FakePredictor, picture, scan
from ray_fakes import FakeServe, FallingBackPredictor, load

from Sim4SegCore import Sim4SegError
from Sim4SegCore.commands import serve
from Sim4SegCore.output import result_to_dict
from Sim4SegCore.service import server
from Sim4SegCore.service.client import Options
from Sim4SegCore.service.config import ServiceConfig, ServiceLimits
from Sim4SegCore.service.replica import Asked, Failure, Replica
from Sim4SegCore.service.transport import ServiceError
from Sim4SegCore.volume import SliceOptions
from Sim4SegCore.volume.output import volume_result_to_dict

REPLICAS = ("ray:0", "ray:1")
PATIENCE_S = 120.0
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed"
)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """Two replicas on this machine, for all tests of this file."""
    from Sim4SegCore.service.ray_replicas import ray_replicas

    limits = ServiceLimits(max_body_bytes=2000)
    config = ServiceConfig(devices=REPLICAS, limits=limits)
    with contextlib.ExitStack() as stack:
        replicas = stack.enter_context(ray_replicas("local", load, "cpu", limits))
        found = stack.enter_context(running(config, replicas.load, tmp_path_factory.mktemp("ray")))
        wait_for(lambda: [d.state for d in found.hub.health().devices] == ["ready"] * 2)
        yield found, replicas
    left = [
        child
        for child in psutil.Process().children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE and "raylet" in child.name()
    ]
    assert left == []


def wait_for(condition):
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


def process_of(answer):
    return int(answer.document["model"]["name"])


@needs_ray
@pytest.mark.slow
def test_protocol_and_answers_are_the_same(service):
    found, _ = service
    case, seen = picture(7), []
    direct = FakePredictor()
    direct.set_image(case)
    expected = direct.ask("What is it?")
    with found.client() as client:
        answer = client.ask(case, "What is it?", Options(similarity="float32"), seen.append)
        assert [device["name"] for device in client.health().devices] == list(REPLICAS)
        with pytest.raises(ServiceError, match="model"):
            client.ask(case, "?", Options(model="unknown"))
    document, wanted = dict(answer.document), result_to_dict(expected)
    assert document.pop("model") != wanted.pop("model")
    assert document == wanted
    assert np.array_equal(answer.masks[0][0], expected.mask)
    assert found.call("GET", "/v1/health", token=None).status_code == 401
    assert found.call("POST", "/v1/jobs", token=MONITOR, json={}).status_code == 403
    assert found.call("POST", "/v1/jobs", data=b"x" * 3000).status_code == 413


@needs_ray
@pytest.mark.slow
def test_volumes_and_samples_are_answered_on_replicas(service):
    found, _ = service
    volume, seen = scan(8), []
    expected = FakePredictor().segment_volume(volume, "A tumor?", SliceOptions("sagittal"))
    with found.client() as client:
        options = Options(mode="slices", axis="sagittal")
        answer = client.ask(volume, "A tumor?", options, seen.append)
        options = Options(samples=2, masks=3, seed=4, candidates=True)
        sampled = client.ask(picture(8), "A lesion?", options)
    document, wanted = dict(answer.document), volume_result_to_dict(expected)
    assert document.pop("model") != wanted.pop("model")
    assert document == wanted
    assert np.array_equal(answer.masks[0], expected.mask)
    assert [entry["reasoning"] for entry in sampled.document["samples"]["answers"]] == [
        "seed 4, answer 0",
        "seed 4, answer 1",
    ]
    assert len(sampled.candidates) == 3


@needs_ray
@pytest.mark.slow
def test_an_image_is_asked_about_where_it_is_encoded(service):
    found, _ = service
    images = [picture(seed) for seed in range(20, 24)]
    with found.client() as client:
        first = [client.ask(image, "First?").document["model"] for image in images]
        for image, model in zip(images, first, strict=True):
            again = client.ask(image, "Again?").document["model"]
            assert again["name"] == model["name"]
        last = client.ask(images[-1], "Last?").document["model"]
        encoded = int(last["revision"])
        client.ask(images[-1], "Really last?")
        assert int(client.ask(images[-1], "End?").document["model"]["revision"]) == encoded


@needs_ray
@pytest.mark.slow
def test_a_query_survives_the_death_of_its_replica(service):
    found, _ = service
    killed = []

    def kill_once(step):
        if step.stage == "answer" and not killed:
            killed.append(process)
            os.kill(process, signal.SIGKILL)

    with found.client() as client:
        image = client.prepare(picture(30))
        process = process_of(client.ask(image, "Where?"))
        answer = client.ask(image, "A slow one?", progress=kill_once)
        assert killed and process_of(answer) != process
        assert answer.document["query"] == "A slow one?"


@needs_ray
@pytest.mark.slow
def test_replicas_are_replaced_one_by_one_and_no_query_is_lost(service):
    found, replicas = service
    restarted = threading.Event()
    before = {replicas.handle(name).pid.remote().result() for name in REPLICAS}
    answers, failures = [], []

    def ask_until_restarted(number):
        with found.client() as client:
            image = client.prepare(picture(40 + number))
            while not restarted.is_set():
                query = f"A slow one of {number}, {len(answers)}?"
                try:
                    answers.append((query, client.ask(image, query)))
                except ServiceError as error:
                    failures.append(error)

    askers = [threading.Thread(target=ask_until_restarted, args=(n,)) for n in range(2)]
    for asker in askers:
        asker.start()
    try:
        wait_for(lambda: found.hub.health().jobs == 2)
        replicas.restart()
    finally:
        restarted.set()
        for asker in askers:
            asker.join(PATIENCE_S)
    assert failures == []
    assert answers and all(answer.document["query"] == query for query, answer in answers)
    after = {replicas.handle(name).pid.remote().result() for name in REPLICAS}
    assert not before & after


@needs_ray
@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--replicas", "2"], "--ray"),
        (["--ray", "local", "--replicas", "0"], "1 or more"),
        (["--ray", "local", "--device", "cuda:1"], "Ray's choice"),
    ],
)
def test_options_that_do_not_fit_are_refused(more, said):
    parser = argparse.ArgumentParser()
    serve.configure(parser)
    with pytest.raises(Sim4SegError, match=said):
        serve.run(parser.parse_args(more))


@pytest.fixture
def fake_serve(monkeypatch):
    """Two replicas, with models loaded, on a Ray Serve that there is not."""
    import ray
    from ray import serve as ray_serve

    from Sim4SegCore.service.ray_replicas import RayReplicas

    fake = FakeServe()
    monkeypatch.setattr(ray_serve, "run", fake)
    cluster = SimpleNamespace(cluster_resources=lambda: {"CPU": 2}, exceptions=ray.exceptions)
    replicas = RayReplicas(cluster, load, "cpu", ServiceLimits())
    for name in REPLICAS:
        replicas.load(None, name)
    fake.events.clear()
    return fake, replicas


@needs_ray
def test_the_other_replicas_are_reached_while_one_is_replaced(fake_serve):
    fake, replicas = fake_serve
    fake.holds = True
    restart = threading.Thread(target=replicas.restart)
    restart.start()
    try:
        assert fake.held.wait(PATIENCE_S)
        reached = threading.Event()
        asker = threading.Thread(target=lambda: replicas.handle("ray:1") and reached.set())
        asker.start()
        assert reached.wait(5)
    finally:
        fake.go_on.set()
        restart.join(PATIENCE_S)
    asker.join(PATIENCE_S)


@needs_ray
def test_a_replica_has_its_model_again_before_the_next_one_is_replaced(fake_serve):
    fake, replicas = fake_serve
    replicas.restart()
    assert fake.events == [
        ("run", "sim4seg-0"),
        ("prepare", "sim4seg-0"),
        ("run", "sim4seg-1"),
        ("prepare", "sim4seg-1"),
    ]


def test_what_a_gpu_encoded_is_not_used_after_a_fallback_to_the_cpu():
    loaded = []

    def load_falling_back(source, device):
        loaded.append(FallingBackPredictor())
        return loaded[-1]

    replica = Replica(load_falling_back, "auto", 1 << 20, 2)

    def reply(image, case, query):
        async def last():
            return [message async for message in replica.ask(Asked(None, image, case, query))][-1]

        return asyncio.run(last())

    reply("first", picture(1), "What?")
    assert reply("first", None, "And?").query.text == "And?"
    assert reply("second", picture(2), "A large one?").query.text == "A large one?"
    assert reply("first", None, "Again?") == Failure("image_missing")
    assert reply("first", picture(1), "Again?").query.text == "Again?"
    assert [predictor.model.device for predictor in loaded] == ["cpu", "cuda:0"]


@pytest.mark.parametrize("given", [None, "", "0123456789abcdef"])
def test_the_token_that_counts_is_shown_unless_the_user_chose_it(given, monkeypatch, capsys):
    monkeypatch.delenv(serve.TOKEN_VARIABLE, raising=False)
    if given is not None:
        monkeypatch.setenv(serve.TOKEN_VARIABLE, given)
    books = []

    def fake_serve(config, book, announce):
        books.append(book)
        announce("http://here")

    monkeypatch.setattr(server, "serve", fake_serve)
    parser = argparse.ArgumentParser()
    serve.configure(parser)
    serve.run(parser.parse_args([]))
    shown = capsys.readouterr().out.splitlines()[1].removeprefix("Token").strip()
    assert shown == f"that of {serve.TOKEN_VARIABLE}" if given else len(shown) > 16
    assert books[0].verify(f"Bearer {given or shown}").role == "admin"
