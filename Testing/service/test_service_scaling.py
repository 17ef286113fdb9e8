"""How many answers and masks: asked through the service, combined as in the direct call."""

import numpy as np
import pytest
import torch
from documents import numbers_in, without_numbers
from fakes import FakePredictor, picture

from Sim4SegCore.output import result_to_dict
from Sim4SegCore.scaling_config import ScalingConfig
from Sim4SegCore.service.client import Options


def direct(scaling, default=None):
    predictor = FakePredictor(scaling=default or ScalingConfig())
    predictor.set_image(picture())
    return predictor.ask("What is it?", scaling)


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ({}, ScalingConfig(masks=2)),
        ({"samples": 4}, ScalingConfig(samples=4, masks=2)),
        ({"masks": 1}, ScalingConfig(masks=1)),
        ({"samples": 3, "masks": 4, "seed": -7}, ScalingConfig(samples=3, masks=4, seed=-7)),
    ],
)
def test_what_is_asked_counts_on_top_of_what_the_model_does(serve, asked, meant):
    predictor = FakePredictor(scaling=ScalingConfig(masks=2))
    expected = direct(meant)
    options = Options(similarity="float32", candidates=True, **asked)
    with serve(predictor).client() as client:
        answer = client.ask(picture(), "What is it?", options)
    assert answer.document == result_to_dict(expected)
    assert len(answer.candidates) == len(expected.samples.masks)
    for ours, theirs in zip(answer.candidates, expected.samples.masks, strict=True):
        assert np.array_equal(ours[0], theirs.mask)
    assert result_to_dict(answer.to_result(picture())) == answer.document


def test_candidates_travel_only_if_they_are_wanted(serve):
    with serve(FakePredictor(scaling=ScalingConfig(masks=8))).client() as client:
        answer = client.ask(picture(), "What?", Options(similarity="uint8"))
    assert answer.candidates is None
    assert len(answer.document["samples"]["masks"]) == 8
    assert answer.to_result(picture()).samples.masks == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"samples": 0},
        {"samples": 1000},
        {"samples": -1},
        {"samples": 2.5},
        {"samples": True},
        {"masks": 0},
        {"masks": 1000},
        {"masks": "4"},
        {"seed": "tomorrow"},
        {"seed": 1.5},
        {"seed": 2**70},
        {"seed": []},
        {"candidates": "yes"},
    ],
    ids=str,
)
def test_numbers_that_cannot_be_are_refused_by_name(serve, wrong):
    running = serve()
    with running.client() as client:
        image = client.prepare(picture())
        client.send(image)
    reply = running.call("POST", "/v1/jobs", json={"image": image.hash, "query": "?", **wrong})
    assert reply.status_code == 422
    assert reply.headers["Content-Type"] == "application/problem+json"
    problem = reply.json()
    assert problem["code"] == "invalid"
    assert problem["detail"].startswith(f"{next(iter(wrong))}: ")
    assert problem["action"]


@pytest.mark.slow
def test_the_embedded_model_samples_as_in_the_direct_call(embedded, tmp_path):
    from Sim4SegCore import Case
    from Sim4SegCore.examples import draw_phantom
    from Sim4SegCore.service import LocalService

    case = Case(draw_phantom()[0])
    query = "Is there a skin lesion? Segment it and tell me what it is."
    expected = embedded.segment(case, query, ScalingConfig(samples=3, masks=3, seed=11))
    options = Options(samples=3, masks=3, seed=11, candidates=True)
    # As many threads as here: they decide in which order is summed, which rounds differently.
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    with (
        LocalService(tmp_path / "log", ["--device", "cpu"], environment=threads) as service,
        service.client() as client,
    ):
        answer = client.ask(case, query, options)
    wanted = result_to_dict(expected)
    ours, theirs = answer.document["samples"], wanted["samples"]
    assert without_numbers(ours) == without_numbers(theirs)
    assert numbers_in(ours) == pytest.approx(numbers_in(theirs), abs=2e-6)
    assert answer.document["diagnosis"] == wanted["diagnosis"]
    assert len(answer.candidates) == 3
    for ours, theirs in zip(answer.candidates, expected.samples.masks, strict=True):
        assert np.array_equal(ours[0], theirs.mask)
