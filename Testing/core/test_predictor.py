"""The embedded model through the Python interface."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from Sim4SegCore import Case, ModelIdentity, Sim4Seg, Sim4SegError
from Sim4SegCore.examples import dice, draw_phantom
from Sim4SegCore.modeling.checkpoint import embedded_folder, load_model

QUERY = "Is there a skin lesion? Segment it and tell me what it is."


def test_one_image_many_queries_and_back(embedded):
    first, second = draw_phantom(0)[0], draw_phantom(1)[0][:, ::-1].copy()
    alone = embedded.segment(first, QUERY)
    embedded.segment(second, QUERY)
    embedded.set_image(first)
    embedded.ask("Is there a polyp?")
    again = embedded.ask(QUERY)
    assert np.array_equal(alone.mask, again.mask)
    assert alone.reasoning == again.reasoning
    assert alone.diagnosis.label == again.diagnosis.label
    # Drafts let several tokens share a call, which changes the last digits.
    assert alone.confidence == pytest.approx(again.confidence, abs=1e-3)


def test_results_are_consistent(embedded):
    result = embedded.segment(draw_phantom()[0], QUERY)
    assert result.mask.shape == result.similarity.shape == (300, 400)
    assert result.mask.dtype == bool
    assert 0 <= result.similarity.min() <= result.similarity.max() <= 1
    shares = [result.confidence, *(share for _, share in result.diagnosis.alternatives)]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) <= 1 + 1e-6
    assert set(result.timing) == {"encode", "answer", "mask"}


def test_statements_are_checked_against_the_mask(embedded):
    image, _ = draw_phantom()
    found = [embedded.segment(turned, QUERY) for turned in (image, image[::-1].copy())]
    for result in found:
        claims = {claim.kind: claim for claim in result.claims}
        assert claims["presence"].verdict == "supported"
        refuted = [c for c in result.claims if c.verdict == "contradicted"]
        assert all(any(c.measured in w for w in result.warnings) for c in refuted)
        said = " ".join(claim.statement for claim in result.claims)
        assert all(word in result.reasoning for word in said.replace("of the image", "").split())


def test_similarity_is_higher_on_the_lesion(embedded):
    image, truth = draw_phantom()
    similarity = embedded.segment(image, QUERY).similarity
    assert similarity[truth].mean() > similarity[~truth].mean() + 0.2


@pytest.mark.parametrize("shape", [(150, 450), (450, 150)])
def test_masks_lie_right_on_images_far_from_square(embedded, shape):
    image, truth = draw_phantom()
    lesion, mask = image[70:230, 90:270], truth[70:230, 90:270]
    skin = np.asarray(image[5:35, 5:35].reshape(-1, 3).mean(0), np.uint8)
    canvas = np.tile(skin, (*shape, 1))
    expected = np.zeros(shape, bool)
    small = np.asarray(Image.fromarray(lesion).resize((120, 106)))
    small_mask = np.asarray(Image.fromarray(mask).resize((120, 106)))
    top, left = (22, 290) if shape[1] > shape[0] else (300, 15)
    canvas[top : top + 106, left : left + 120] = small
    expected[top : top + 106, left : left + 120] = small_mask
    result = embedded.segment(canvas, QUERY)
    assert dice(result.mask, expected) > 0.75


@pytest.mark.parametrize("target", ["fracture", "pneumothorax"])
def test_nothing_to_find_gives_an_empty_mask_and_says_so(embedded, target):
    result = embedded.segment(draw_phantom()[0], f"Is there a {target}? Segment it.")
    assert not result.mask.any()
    assert not result.findings[0].present
    is_denied = f"no {target}" in result.reasoning
    assert is_denied or any("no mask was found" in warning for warning in result.warnings)
    assert result.diagnosis.label is None


def test_asking_without_an_image_is_refused(embedded):
    predictor = Sim4Seg(embedded.model, embedded.identity)
    with pytest.raises(Sim4SegError, match="set_image"):
        predictor.ask(QUERY)


def test_a_failed_set_image_keeps_the_last_one(embedded, tmp_path):
    embedded.set_image(draw_phantom()[0])
    with pytest.raises(Sim4SegError):
        embedded.set_image(tmp_path / "none.png")
    assert embedded.ask(QUERY).case.size == (300, 400)


def test_grey_images_of_any_depth_are_read(embedded):
    grey = draw_phantom()[0][..., 1].astype(np.int32) * 40 - 3000
    result = embedded.segment(Case(grey.astype(np.int16)), QUERY)
    assert result.mask.shape == (300, 400)


def test_thin_targets_are_tiled(embedded):
    rows = np.arange(600)[:, None] * np.ones(600)
    image = np.zeros((600, 600, 3), np.uint8)
    disc = np.hypot(rows - 300, rows.T - 300) < 280
    image[disc] = (190, 90, 40)
    embedded.set_image(image)
    embedded.ask("Segment the retinal vessels.")
    tiled = embedded._image.tiles
    embedded.set_image(draw_phantom()[0])
    embedded.ask(QUERY)
    assert tiled is not None
    assert embedded._image.tiles is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_agrees_with_single(embedded, dtype):
    model = load_model(embedded_folder(), dtype)
    half = Sim4Seg(model, ModelIdentity("half", "", ""))
    image = draw_phantom()[0]
    ours, theirs = half.segment(image, QUERY), embedded.segment(image, QUERY)
    assert dice(ours.mask, theirs.mask) > 0.97
    assert ours.diagnosis.label == theirs.diagnosis.label
    assert ours.confidence == pytest.approx(theirs.confidence, abs=0.08)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_gpu_agrees_with_the_cpu(embedded):
    gpu = Sim4Seg.from_pretrained(device="cuda")
    image = draw_phantom()[0]
    ours, theirs = gpu.segment(image, QUERY), embedded.segment(image, QUERY)
    assert dice(ours.mask, theirs.mask) > 0.97
    assert ours.diagnosis.label == theirs.diagnosis.label


def test_a_gpu_without_memory_falls_back_with_a_word(embedded, monkeypatch):
    said = []
    model = load_model(embedded_folder())
    predictor = Sim4Seg(model, embedded.identity, notify=said.append)
    encode, failures = predictor._encode, iter([True])

    def encode_once_failing(case):
        if next(failures, False):
            raise torch.cuda.OutOfMemoryError("out of memory")
        return encode(case)

    monkeypatch.setattr(predictor, "_encode", encode_once_failing)
    result = predictor.segment(draw_phantom()[0], QUERY)
    assert "CPU" in said[0]
    assert any("CPU" in warning for warning in result.warnings)
    assert result.mask.any()


def test_raising_the_presence_threshold_empties_masks(embedded):
    model = load_model(embedded_folder())
    model.config = dataclasses.replace(model.config, presence_threshold=1.1)
    result = Sim4Seg(model, embedded.identity).segment(draw_phantom()[0], QUERY)
    assert not result.mask.any()
    assert result.warnings


def test_embedded_checkpoint_is_small_and_has_a_card():
    import json

    folder = embedded_folder()
    assert sum(p.stat().st_size for p in folder.rglob("*.safetensors")) <= 20_000_000
    card = json.loads((folder / "card.json").read_text())
    assert card["parameters"] <= 10_000_000
    assert {"data", "command", "metrics", "intended_use"} <= set(card)
    assert all({"set", "images", "licence"} == set(entry) for entry in card["data"])
