"""Watching a query of the embedded model, ending it, and returning to an encoded image."""

import numpy as np
import pytest

from Sim4SegCore import Sim4Seg
from Sim4SegCore.examples import draw_phantom

QUERY = "Is there a skin lesion? Segment it and tell me what it is."
VESSELS = "Segment the retinal vessels."


@pytest.fixture
def predictor(embedded):
    return Sim4Seg(embedded.model, embedded.identity)


def fundus():
    """A drawn eye, large enough to be looked at in tiles."""
    rows = np.arange(600)[:, None] * np.ones(600)
    image = np.zeros((600, 600, 3), np.uint8)
    image[np.hypot(rows - 300, rows.T - 300) < 280] = (190, 90, 40)
    return image


@pytest.mark.parametrize(("image", "query"), [(draw_phantom()[0], QUERY), (fundus(), VESSELS)])
def test_stages_come_in_order_and_fractions_never_fall(predictor, image, query):
    steps = []
    predictor.progress = steps.append
    predictor.segment(image, query)
    assert list(dict.fromkeys(step.stage for step in steps)) == ["encode", "answer", "mask"]
    fractions = [step.fraction for step in steps]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] < 1


def test_a_tiled_image_has_a_first_mask_of_its_size(predictor):
    masks = []
    predictor.progress = lambda step: masks.append(step.mask) if step.mask is not None else None
    predictor.segment(fundus(), VESSELS)
    assert [mask.shape for mask in masks] == [(600, 600)]
    assert masks[0].dtype == bool


@pytest.mark.parametrize("stage", ["encode", "answer", "mask"])
def test_ending_a_query_at_any_stage_leaves_the_predictor_usable(predictor, embedded, stage):
    class EndedError(Exception):
        pass

    def end(step):
        if step.stage == stage:
            raise EndedError

    predictor.progress = end
    with pytest.raises(EndedError):
        predictor.segment(fundus(), VESSELS)
    predictor.progress = lambda step: None
    image = draw_phantom()[0]
    ours, theirs = predictor.segment(image, QUERY), embedded.segment(image, QUERY)
    assert np.array_equal(ours.mask, theirs.mask)
    assert ours.reasoning == theirs.reasoning


def test_an_encoded_image_can_be_returned_to(predictor):
    first = predictor.segment(draw_phantom(0)[0], QUERY)
    kept = predictor.encoded
    predictor.segment(fundus(), VESSELS)
    predictor.encoded = kept
    steps = []
    predictor.progress = steps.append
    again = predictor.ask(QUERY)
    assert np.array_equal(first.mask, again.mask)
    assert "encode" not in {step.stage for step in steps}
