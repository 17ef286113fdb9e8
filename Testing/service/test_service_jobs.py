"""Jobs through a real server: answers, progress, cancelling, time-outs, turns, models, memory."""

import dataclasses
import gc
import threading
import time
import types
import weakref

import numpy as np
import pytest
from fakes import FakePredictor, picture, scan

from Sim4SegCore import Case, Geometry, Sim4SegError
from Sim4SegCore.output import result_to_dict
from Sim4SegCore.service import jobs as jobs_module
from Sim4SegCore.service import worker
from Sim4SegCore.service.client import Options
from Sim4SegCore.service.config import ServiceConfig, ServiceLimits
from Sim4SegCore.service.images import StoredImage
from Sim4SegCore.service.jobs import JobBoard
from Sim4SegCore.service.protocol import ImageDescription, JobRequest
from Sim4SegCore.service.transport import ServiceError


def direct(case, query):
    """What a call without a service gives."""
    predictor = FakePredictor()
    predictor.set_image(case)
    return predictor.ask(query)


@pytest.mark.parametrize(
    "case",
    [
        picture(),
        Case(np.random.default_rng(1).integers(0, 255, (7, 9, 3), dtype=np.uint8)),
        Case(np.linspace(-1000, 3000, 60).reshape(6, 10).astype(np.int16), modality="CT"),
        Case(np.linspace(-1, 1, 60, dtype=np.float64).reshape(6, 10), window=(0.5, 2.0)),
        Case(np.eye(5, dtype=bool)),
        Case(
            np.arange(30, dtype=">f4").reshape(5, 6),
            Geometry((0.5, 0.25, 2.0), (1.0, 2.0, -3.5), (1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0)),
        ),
    ],
    ids=["uint8", "rgb", "int16", "float64", "bool", "big-endian with geometry"],
)
def test_answers_equal_the_direct_call(serve, case):
    expected = direct(case, "What is it?")
    with serve().client() as client:
        answer = client.ask(case, "What is it?", Options(similarity="float32"))
    assert answer.document == result_to_dict(expected)
    result = answer.to_result(case)
    assert np.array_equal(result.mask, expected.mask)
    assert np.array_equal(result.similarity, expected.similarity)
    assert result_to_dict(result) == answer.document


def test_a_complete_result_can_be_saved(serve, tmp_path):
    case = picture()
    with serve().client() as client:
        answer = client.ask(case, "What is it?", Options(similarity="uint8"))
    assert (answer.to_result(case).save(tmp_path / "out") / "mask.png").is_file()
    with pytest.raises(Sim4SegError, match="size"):
        answer.to_result(picture(size=(5, 5)))


def test_a_slice_of_a_volume_is_answered_in_its_place(serve):
    volume = np.random.default_rng(0).integers(0, 900, (4, 6, 8)).astype(np.uint16)
    place = Geometry((1.0, 1.0, 5.0), (0.0, 0.0, 10.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    running = serve()
    with running.client() as client:
        image = client.prepare_volume(volume, place)
        answer = client.ask(image, "What?", Options(slice=2))
        with pytest.raises(ServiceError, match="4 slices"):
            client.ask(image, "What?")
        with pytest.raises(ServiceError, match="no slice 4"):
            client.ask(image, "What?", Options(slice=4))
    assert np.array_equal(answer.masks[0][0], volume[2] > volume[2].mean())
    assert answer.slice == 2
    stored = running.hub.images.get(image.hash)
    assert stored.case(2).geometry.origin == (0.0, 0.0, 20.0)


def test_an_image_is_sent_and_encoded_once(serve):
    predictor = FakePredictor()
    running = serve(predictor)
    with running.client() as first, running.client() as second:
        for number in range(3):
            first.ask(picture(), f"Question {number}?")
            second.ask(picture(), f"Question {number}?")
    assert predictor.encodings == 1
    assert len(running.hub.images) == 1


def test_progress_has_stages_time_and_a_first_mask(serve):
    seen = []
    with serve(FakePredictor(seconds=1.0)).client() as client:
        client.ask(picture(), "What?")
        client.ask(picture(), "What?", progress=seen.append)
    fractions = [step.fraction for step in seen]
    assert fractions == sorted(fractions)
    assert len(set(fractions)) > 2
    assert {"answer"} <= {step.stage for step in seen}
    assert any(step.remaining_s and 0 < step.remaining_s < 3 for step in seen)
    masks = [step.mask for step in seen if step.mask is not None]
    assert masks and masks[0].shape == (1, 24, 32)


def test_what_the_progress_callback_raises_cancels_and_frees_the_device(serve):
    class EnoughError(Exception):
        pass

    def stop(step):
        if step.stage == "answer":
            raise EnoughError

    predictor = FakePredictor(seconds=60.0, steps=600)
    running = serve(predictor)
    with running.client() as client:
        with pytest.raises(EnoughError):
            client.ask(picture(), "Slow?", progress=stop)
        predictor.seconds, began = 0.0, time.monotonic()
        client.ask(picture(), "Quick?")
    assert time.monotonic() - began < 30, "waited for the cancelled job's sixty seconds"


def test_cancelling_a_waiting_job_takes_it_out_of_the_queue(serve):
    predictor = FakePredictor(seconds=3.0, steps=30)
    running = serve(predictor)
    with running.client() as client:
        image = client.prepare(picture())
        client.send(image)
        jobs = [submit(running, image.hash, f"{n}?") for n in range(3)]
        assert [running.hub.status(running.hub.board.find(None, j)).ahead for j in jobs[1:]] in (
            [0, 1],
            [1, 2],
        )
        state = running.call("DELETE", f"/v1/jobs/{jobs[1]}").json()["state"]
        assert state == "cancelled"
        assert running.call("GET", f"/v1/jobs/{jobs[1]}/result").json()["code"] == "cancelled"
        assert running.hub.health().jobs == 2
        for job in (jobs[0], jobs[2]):
            client.cancel(job)
        assert running.hub.health().jobs == 0


def submit(running, digest, query, **more):
    reply = running.call("POST", "/v1/jobs", json={"image": digest, "query": query, **more})
    assert reply.status_code == 201, reply.text
    return reply.json()["id"]


@pytest.mark.parametrize("waiting", [False, True])
def test_jobs_time_out_running_or_waiting(serve, waiting):
    running = serve(FakePredictor(seconds=60.0, steps=1200))
    with running.client() as client:
        image = client.prepare(picture())
        client.send(image)
        if waiting:
            first = submit(running, image.hash, "First?")
        began = time.monotonic()
        with pytest.raises(ServiceError, match="longer than it was allowed") as caught:
            client.ask(image, "Slow?", Options(timeout_s=0.3))
        assert caught.value.problem.status == 504
        assert time.monotonic() - began < 30
        if waiting:
            client.cancel(first)


def test_the_same_key_is_the_same_job(serve):
    running = serve()
    with running.client() as client:
        image = client.prepare(picture())
        client.send(image)
    first = submit(running, image.hash, "Once?", key="mine")
    assert submit(running, image.hash, "Once?", key="mine") == first
    other = {"image": image.hash, "query": "Twice?", "key": "mine"}
    assert running.call("POST", "/v1/jobs", json=other).status_code == 422


def test_models_are_switched_by_job_and_found_when_they_come(serve, tmp_path):
    loaded = []

    def load(source, device):
        loaded.append(source)
        return FakePredictor(name=str(source).rpartition("/")[2])

    folder = tmp_path / "models"
    folder.mkdir()
    running = serve(
        load=load,
        config=ServiceConfig(
            models={"a": "a"}, models_folder=folder, limits=ServiceLimits(max_models=2)
        ),
    )
    with running.client() as client:
        assert client.ask(picture(), "?").document["model"]["name"] == "a"
        with pytest.raises(ServiceError, match="model"):
            client.ask(picture(), "?", Options(model="b"))
        (folder / "b").mkdir()
        (folder / "b" / "config.json").write_text("{}")
        assert client.ask(picture(), "?", Options(model="b")).document["model"]["name"] == "b"
        client.ask(picture(), "?")
        assert loaded == ["a", str(folder / "b")]
        assert {m["name"] for m in client.health().models} == {"a", "b"}


def test_a_model_that_cannot_be_loaded_is_a_clear_problem(serve):
    def load(source, device):
        raise Sim4SegError("the checkpoint is damaged; fetch it again")

    running = serve(load=load)
    with running.client() as client:
        with pytest.raises(ServiceError, match="checkpoint is damaged") as caught:
            client.ask(picture(), "?")
        assert caught.value.problem.code == "model_failed"
        assert client.health().devices[0]["state"] == "failed"


def half_broken(is_broken):
    """Loads a model on any device, but not on the first one while it is broken."""

    def load(source, device):
        if device == "cuda:0" and is_broken():
            raise Sim4SegError("the checkpoint is damaged; fetch it again")
        return FakePredictor()

    return load


def device_states(running):
    return {device.name: device.state for device in running.hub.health().devices}


def test_a_device_that_cannot_load_its_model_gets_no_jobs_while_there_is_another(serve):
    config = ServiceConfig(devices=("cuda:0", "cuda:1"))
    running = serve(load=half_broken(lambda: True), config=config)
    wait_for(lambda: device_states(running) == {"cuda:0": "failed", "cuda:1": "ready"})
    with running.client() as client:
        for seed in range(6):
            client.ask(picture(seed), "?")
        with pytest.raises(ServiceError, match="damaged"):
            client.ask(picture(), "?", Options(device="cuda:0"))


def test_a_device_tries_again_to_load_its_model(serve, monkeypatch):
    monkeypatch.setattr(worker, "RETRY_SECONDS", 0.05)
    is_broken = [True]
    config = ServiceConfig(devices=("cuda:0", "cuda:1"))
    running = serve(load=half_broken(lambda: is_broken[0]), config=config)
    wait_for(lambda: device_states(running)["cuda:0"] == "failed")
    is_broken[0] = False
    wait_for(lambda: device_states(running)["cuda:0"] == "ready")


def test_out_of_memory_is_tried_again_with_caches_emptied_then_said(serve):
    said = "DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."
    times = iter([RuntimeError(said), None, None, MemoryError(), MemoryError()])

    def fails(case, query):
        if error := next(times):
            raise error

    running = serve(FakePredictor(fails=fails))
    with running.client() as client:
        client.ask(picture(), "Once?")
        client.ask(picture(), "Fine?")
        with pytest.raises(ServiceError, match="not enough memory"):
            client.ask(picture(), "Never?")


@dataclasses.dataclass
class Crowded(FakePredictor):
    """Without enough memory once for each model loaded; asked again it leaves its device."""

    model: types.SimpleNamespace = dataclasses.field(
        default_factory=lambda: types.SimpleNamespace(device="cuda:0")
    )
    attempts: int = 0

    def ask(self, query, scaling=None):
        self.attempts += 1
        if query == "Large?" and self.attempts == 1:
            raise RuntimeError("CUDA error: out of memory")
        if query == "Large?":
            self.model.device = "cpu"
        return super().ask(query, scaling)


def test_a_model_that_left_its_device_is_loaded_there_again(serve, caplog):
    loaded = []

    def load(source, device):
        loaded.append(Crowded())
        return loaded[-1]

    with serve(load=load).client() as client:
        client.ask(picture(), "Large?")
        client.ask(picture(), "Small?")
        client.ask(picture(), "Small again?")
    assert [predictor.answered for predictor in loaded] == [["Large?"], ["Small?", "Small again?"]]
    assert loaded[-1].encodings == 1
    assert "answered elsewhere" in caplog.text


def test_a_defect_ends_one_job_only(serve):
    def fails(case, query):
        if query == "Bad?":
            raise KeyError("secret")

    with serve(FakePredictor(fails=fails)).client() as client:
        with pytest.raises(ServiceError) as caught:
            client.ask(picture(), "Bad?")
        assert caught.value.problem.code == "internal"
        assert "secret" not in str(caught.value)
        assert client.ask(picture(), "Good?").document["query"] == "Good?"


def test_results_and_images_go_after_a_while(serve):
    limits = ServiceLimits(result_seconds=0.3, image_cache_bytes=2000)
    running = serve(config=ServiceConfig(limits=limits))
    with running.client() as client:
        first, second, third = (client.prepare(picture(seed)) for seed in range(3))
        client.send(first)
        client.send(second)
        client.knows(first.hash)
        client.send(third)
        assert [client.knows(image.hash) for image in (first, second, third)] == [True, False, True]
        job = submit(running, first.hash, "What?")
        wait_for(lambda: running.call("GET", f"/v1/jobs/{job}").status_code == 404)
        assert client.ask(second, "Still?").document["query"] == "Still?"


@pytest.mark.parametrize("options", [Options(slice=1), Options(mode="slices")])
def test_neither_a_finished_job_nor_an_encoded_slice_keeps_a_volume_in_memory(serve, options):
    limits = ServiceLimits(image_cache_bytes=2000)
    running = serve(config=ServiceConfig(limits=limits))
    with running.client() as client:
        image = client.prepare(scan())
        client.ask(image, "What?", options)
        voxels = weakref.ref(running.hub.images.get(image.hash).voxels)
        client.send(client.prepare(scan(seed=1)))
    assert running.hub.images.get(image.hash) is None
    assert len(running.hub.board) == 1

    def is_gone():
        gc.collect()
        return voxels() is None

    wait_for(is_gone, seconds=20.0)


def test_jobs_of_a_client_that_went_away_are_withdrawn(serve):
    limits = ServiceLimits(unheard_seconds=1.0)
    running = serve(FakePredictor(seconds=600.0, steps=6000), ServiceConfig(limits=limits))
    with running.client() as client:
        image = client.prepare(picture())
        client.send(image)
        jobs = [submit(running, image.hash, f"{n}?") for n in range(2)]
        watched = running.hub.board.find(None, jobs[0])
        wait_for(lambda: running.hub.health().jobs == 0, seconds=60.0)
        assert watched.problem.code == "cancelled" and "gone away" in watched.problem.detail


def add_job(board, client="a", **more):
    case = picture()
    image = StoredImage("0" * 64, ImageDescription([1, *case.size], "uint8"), case.image[None])
    request = JobRequest(image=image.hash, query="?", **more)
    return board.add(("owner", client), request, image, "m", "cpu")[0]


def test_a_client_that_asks_about_one_job_keeps_all_of_its_own(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(jobs_module.time, "monotonic", lambda: now[0])
    board = JobBoard(ServiceLimits(unheard_seconds=90.0), lambda job: None)
    mine, also_mine, gone = (add_job(board, client) for client in "aab")
    now[0] = 60.0
    board.status(mine, None, None)
    now[0] = 100.0
    board.sweep()
    assert [job.state for job in (mine, also_mine, gone)] == ["queued", "queued", "cancelled"]


def test_only_time_outs_that_clients_name_count_the_time_in_the_queue(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(jobs_module.time, "monotonic", lambda: now[0])
    board = JobBoard(ServiceLimits(job_seconds=600.0, unheard_seconds=1e6), lambda job: None)
    patient, hasty = add_job(board), add_job(board, timeout_s=600.0)
    now[0] = 700.0
    board.sweep()
    assert [job.state for job in (patient, hasty)] == ["queued", "failed"]
    assert board.start(patient)
    now[0] = 1200.0
    board.check(patient)
    now[0] = 1400.0
    board.sweep()
    assert (patient.state, patient.problem.code) == ("failed", "timed_out")


def wait_for(condition, seconds=60.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


def test_a_greedy_client_does_not_hold_up_another(serve):
    all_asked = threading.Event()
    predictor = FakePredictor(fails=lambda case, query: wait_for(all_asked.is_set))
    running = serve(predictor)
    with running.client() as client:
        image = client.prepare(picture())
        client.send(image)
        for number in range(40):
            submit(running, image.hash, f"{number}?")
        other = threading.Thread(target=client.ask, args=(image, "One question?"))
        other.start()
        wait_for(lambda: running.hub.health().jobs == 41)
        all_asked.set()
        other.join(60)
    assert predictor.answered.index("One question?") <= 2


def test_eight_clients_get_their_own_answers_in_turn(serve):
    predictor = FakePredictor(seconds=0.01)
    running = serve(predictor)
    cases = [picture(seed, (20 + 30 * seed, 25 + 20 * seed)) for seed in range(8)]
    wrong = []

    def work(number):
        with running.client() as client:
            for query in range(20):
                text = f"Client {number} query {query}"
                answer = client.ask(cases[number], text)
                expected = direct(cases[number], text)
                if answer.document["reasoning"] != expected.reasoning or not np.array_equal(
                    answer.masks[0][0], expected.mask
                ):
                    wrong.append(text)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    askers = [query.split()[1] for query in predictor.answered]
    assert sorted(askers) == sorted(str(number) for number in range(8) for _ in range(20))
    first_done = min(max(n for n, a in enumerate(askers) if a == asker) for asker in set(askers))
    assert min(askers[: first_done + 1].count(asker) for asker in set(askers)) >= 5
    assert len(predictor.thread_ids) == 1


def test_the_service_says_which_modes_it_has_and_refuses_others(serve):
    with serve().client() as client:
        assert client.health().modes == ["slice", "slices", "volume"]
        client.ask(picture(), "One slice?", Options(mode="slice"))
        with pytest.raises(ServiceError, match="mode") as refused:
            client.ask(picture(), "All at once?", Options(mode="movie"))
    assert refused.value.problem.code == "invalid"
