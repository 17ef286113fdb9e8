"""The real predictor as the service runs it: ended anywhere within its networks, and still well."""

import numpy as np
import pytest
import torch

from Sim4SegCore import Case, Geometry, Sim4Seg
from Sim4SegCore.examples import draw_phantom
from Sim4SegCore.service import serving
from Sim4SegCore.service.models import load_sim4seg
from Sim4SegCore.volume import SliceOptions, VolumeCase

QUERY = "Is there a skin lesion? Segment it and tell me what it is."


class EndedError(Exception):
    pass


class EndAt:
    """A listener that ends the query at its nth sign of life."""

    def __init__(self, number):
        self.number = number
        self.steps = []

    def __call__(self, step):
        self.steps.append(step)
        if len(self.steps) == self.number:
            raise EndedError


@pytest.fixture(scope="module")
def predictor():
    return load_sim4seg(None, "cpu")


@pytest.fixture(autouse=True)
def signs_between_all_layers(monkeypatch):
    monkeypatch.setattr(serving, "SIGN_S", 0.0)


def signs(predictor, ask):
    listener = EndAt(0)
    predictor.progress = listener
    ask(predictor)
    return listener.steps


def test_there_are_signs_within_a_forward_pass_and_fractions_never_fall(predictor, embedded):
    case = Case(draw_phantom()[0])
    plain = Sim4Seg(embedded.model, embedded.identity)
    steps = signs(predictor, lambda asked: asked.segment(case, QUERY))
    assert len(steps) > 2 * len(signs(plain, lambda asked: asked.segment(case, QUERY)))
    fractions = [step.fraction for step in steps]
    assert fractions == sorted(fractions)
    assert predictor.scaling == embedded.model.config.scaling


def test_a_full_gpu_is_said_before_the_model_moves_away(predictor, monkeypatch):
    case = Case(draw_phantom()[0])
    moved = []
    monkeypatch.setattr(predictor, "_report_fallback", lambda: moved.append(True))
    encode = predictor._encode
    failures = [torch.cuda.OutOfMemoryError("full")]

    def encode_with_failures(image):
        if failures:
            raise failures.pop()
        return encode(image)

    monkeypatch.setattr(predictor, "_encode", encode_with_failures)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        predictor.set_image(case)
    predictor.set_image(case)
    assert predictor.ask(QUERY).reasoning
    assert moved == []
    failures += [torch.cuda.OutOfMemoryError("full")] * 2
    with pytest.raises(torch.cuda.OutOfMemoryError):
        predictor.set_image(case)
    predictor.set_image(case)
    assert moved == [True]
    assert predictor.ask(QUERY).reasoning


@pytest.mark.slow
def test_ended_between_any_layers_it_answers_the_next_query_as_ever(predictor, embedded):
    case = Case(draw_phantom()[0])
    expected = embedded.segment(case, QUERY)
    predictor.segment(case, QUERY)  # answers draft those that follow, which then take fewer steps
    count = len(signs(predictor, lambda asked: asked.segment(case, QUERY)))
    for number in range(1, count, 7):
        predictor.progress = EndAt(number)
        with pytest.raises(EndedError):
            predictor.segment(case, QUERY)
        predictor.progress = EndAt(0)
        if predictor.encoded is None:
            predictor.set_image(case)
        result = predictor.ask(QUERY)
        assert result.reasoning == expected.reasoning
        assert np.array_equal(result.mask, expected.mask)


@pytest.mark.slow
def test_a_volume_can_be_ended_within_a_batch(predictor):
    grey = draw_phantom()[0].mean(-1).astype(np.uint8)
    place = Geometry((1.0, 1.0, 4.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    volume = VolumeCase(np.stack([grey] * 8), place)

    def ask(asked):
        return asked.segment_volume(volume, "Is there a tumor?", SliceOptions(batch=8))

    fractions = [step.fraction for step in signs(predictor, ask)]
    assert fractions.count(0.0) > 20, "signs while the only batch is looked at"
    predictor.progress = EndAt(fractions.index(max(fractions)) - 2)
    with pytest.raises(EndedError):
        ask(predictor)
    predictor.progress = EndAt(0)
    assert ask(predictor).is_complete
