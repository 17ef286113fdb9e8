"""A predictor whose model is elsewhere, with a replica in this process instead of a cluster."""

import asyncio
import pickle

import numpy as np
import pytest
from fakes import FakePredictor, picture, scan
from hypothesis import given
from hypothesis import strategies as st

from Sim4SegCore import Sim4SegError
from Sim4SegCore.scaling_config import ScalingConfig
from Sim4SegCore.service import remote
from Sim4SegCore.service.problems import ServiceProblemError
from Sim4SegCore.service.remote import RemotePredictor, ReplicaLostError
from Sim4SegCore.service.replica import Replica
from Sim4SegCore.service.scheduling import PATIENCE, Homes
from Sim4SegCore.volume import SliceOptions
from Sim4SegCore.volume.output import volume_result_to_dict


class HereChannel:
    """Talks to replicas that it makes itself; `lose` ends some of them in the middle."""

    def __init__(self, load):
        self.load = load
        self.replica = self.fresh()
        self.lose = 0
        self.cases_sent = 0

    def fresh(self):
        return Replica(self.load, "cpu", 1 << 20, 2)

    def prepare(self, source):
        return asyncio.run(self.replica.prepare(source))

    def ask(self, asked):
        asked = pickle.loads(pickle.dumps(asked))
        self.cases_sent += asked.case is not None
        loop = asyncio.new_event_loop()
        messages = self.replica.ask(asked)
        try:
            while True:
                try:
                    yield pickle.loads(pickle.dumps(loop.run_until_complete(anext(messages))))
                except StopAsyncIteration:
                    return
                if self.lose:
                    self.lose -= 1
                    self.replica = self.fresh()
                    raise ReplicaLostError
        finally:
            loop.run_until_complete(messages.aclose())
            loop.close()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(remote, "PAUSE_S", 0.0)


def channel_to(predictor):
    return HereChannel(lambda source, device: predictor)


def test_answers_and_progress_are_those_of_the_model():
    seen = []
    predictor = RemotePredictor(channel_to(FakePredictor(seconds=0.5)), None)
    predictor.progress = seen.append
    predictor.set_image(picture())
    direct = FakePredictor()
    direct.set_image(picture())
    result, expected = predictor.ask("What?"), direct.ask("What?")
    assert result.reasoning == expected.reasoning
    assert np.array_equal(result.mask, expected.mask)
    assert {step.stage for step in seen} == {"encode", "answer"}
    assert any(step.mask is not None for step in seen)


def test_an_image_travels_once_and_again_when_the_replica_is_another_one():
    fake = FakePredictor()
    channel = channel_to(fake)
    predictor = RemotePredictor(channel, None)
    predictor.set_image(picture())
    for number in range(3):
        predictor.ask(f"{number}?")
    assert (channel.cases_sent, fake.encodings) == (1, 1)
    channel.replica = channel.fresh()
    predictor.ask("Still?")
    assert (channel.cases_sent, fake.encodings) == (2, 2)


def test_answers_are_sampled_as_asked_on_top_of_what_the_model_does():
    fake = FakePredictor(scaling=ScalingConfig(masks=3))
    predictor = RemotePredictor(channel_to(fake), None)
    assert predictor.scaling == fake.scaling
    predictor.set_image(picture())
    assert len(predictor.ask("By itself?").samples.masks) == 3
    samples = predictor.ask("As asked?", ScalingConfig(samples=2, seed=5)).samples
    assert [answer.reasoning for answer in samples.answers] == [
        "seed 5, answer 0",
        "seed 5, answer 1",
    ]
    assert len(samples.masks) == 1


def test_a_volume_is_segmented_elsewhere_and_survives_a_lost_replica():
    seen = []
    channel = channel_to(FakePredictor())
    predictor = RemotePredictor(channel, None)
    predictor.progress = seen.append
    channel.lose = 1
    options = SliceOptions(axis="coronal", key_slices=2)
    result = predictor.segment_volume(scan(), "What?", options)
    expected = FakePredictor().segment_volume(scan(), "What?", options)
    assert volume_result_to_dict(result) == volume_result_to_dict(expected)
    assert np.array_equal(result.mask, expected.mask)
    assert result.case.voxels is not None and channel.cases_sent == 2
    assert {step.stage for step in seen} >= {"mask", "answer"}


def test_what_is_lost_is_asked_again_but_not_for_ever():
    channel = channel_to(FakePredictor())
    predictor = RemotePredictor(channel, None)
    predictor.set_image(picture())
    channel.lose = 2
    assert predictor.ask("Twice?").query.text == "Twice?"
    channel.lose = 99
    with pytest.raises(ServiceProblemError, match="several times"):
        predictor.ask("Never?")


def test_what_the_progress_callback_raises_ends_the_query_and_frees_the_model():
    class EnoughError(Exception):
        pass

    def stop(step):
        raise EnoughError

    fake = FakePredictor(seconds=600.0, steps=6000)
    predictor = RemotePredictor(channel_to(fake), None)
    predictor.set_image(picture())
    predictor.progress = stop
    with pytest.raises(EnoughError):
        predictor.ask("Slow?")
    fake.seconds = 0.0
    predictor.progress = lambda step: None
    assert predictor.ask("Quick?").query.text == "Quick?"


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (Sim4SegError("crop the image"), Sim4SegError),
        (MemoryError(), MemoryError),
        (RuntimeError("CUDA out of memory"), MemoryError),
        (KeyError("secret"), RuntimeError),
    ],
)
def test_errors_of_the_model_arrive_as_what_they_are(raised, expected):
    def fails(case, query):
        raise raised

    predictor = RemotePredictor(channel_to(FakePredictor(fails=fails)), None)
    predictor.set_image(picture())
    with pytest.raises(expected) as caught:
        predictor.ask("What?")
    assert "secret" not in str(caught.value)


def test_a_model_that_cannot_be_loaded_is_said_at_once():
    def load(source, device):
        raise Sim4SegError("the checkpoint is damaged; fetch it again")

    with pytest.raises(Sim4SegError, match="damaged"):
        RemotePredictor(HereChannel(load), None)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 5), st.integers(0, 5))))
def test_an_image_keeps_its_device_unless_that_is_much_busier(asked):
    homes, known = Homes(), {}
    for image, first, second in asked:
        loads = {"0": first, "1": second}
        chosen = homes.choose(image, loads)
        assert loads[chosen] <= min(loads.values()) + PATIENCE
        if image in known and loads[known[image]] <= min(loads.values()) + PATIENCE:
            assert chosen == known[image]
        known[image] = chosen
