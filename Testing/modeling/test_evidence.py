"""Presence and diagnosis read from where the model looks."""

import dataclasses

import pytest
import torch
from tiny import DIAGNOSES, QUERY, compact_model, picture

from Sim4SegCore import ModelIdentity, Sim4Seg
from Sim4SegCore.modeling.evidence import EvidenceHeads

WIDTH, GRID = 8, 4


@pytest.fixture
def heads() -> EvidenceHeads:
    torch.manual_seed(0)
    return EvidenceHeads(WIDTH, 16, 3).eval()


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    seg_state = torch.randn(2, WIDTH, generator=generator)
    features = torch.randn(2, GRID * GRID, WIDTH, generator=generator)
    similarity = torch.randn(2, GRID, GRID, generator=generator)
    valid = torch.ones(2, GRID, GRID, dtype=torch.bool)
    valid[1, 2:] = False
    return seg_state, features, similarity, valid


@torch.no_grad()
def test_padding_says_nothing(heads):
    seg_state, features, similarity, valid = inputs()
    expected = heads(seg_state, features, similarity, valid)
    features[1, 2 * GRID :] = 100.0
    similarity[1, 2:] = 100.0
    for found, wanted in zip(heads(seg_state, features, similarity, valid), expected, strict=True):
        torch.testing.assert_close(found, wanted)


@torch.no_grad()
def test_the_place_that_the_model_looks_at_counts_more(heads):
    seg_state, features, similarity, valid = inputs()
    similarity[0] = 0.0
    similarity[0, 1, 2] = 9.0
    changes = []
    for token in (1 * GRID + 2, 3 * GRID + 3):
        changed = features.clone()
        changed[0, token] = changed[0, token].flip(0)
        before = heads(seg_state, features, similarity, valid)[1][0]
        after = heads(seg_state, changed, similarity, valid)[1][0]
        changes.append(float((before - after).norm()))
    assert changes[0] > 2 * changes[1] > 0


@torch.no_grad()
def test_without_labels_there_is_no_diagnosis():
    presence, diagnosis = EvidenceHeads(WIDTH, 16, 0)(*inputs())
    assert presence.shape == (2,)
    assert diagnosis.shape == (2, 0)


def diagnosis_with(weight: float, favourite: int) -> tuple[str | None, dict[str, float]]:
    """What a predictor names whose head is sure of one label."""
    model = compact_model(diagnosis_head_weight=weight)
    last = model.evidence_heads.diagnosis[-1]
    last.weight.zero_()
    last.bias.copy_(10.0 * torch.eye(len(DIAGNOSES))[favourite])
    predictor = Sim4Seg(model, ModelIdentity("tiny", "", ""))
    result = predictor.segment(picture(0).permute(1, 2, 0).numpy(), QUERY)
    found = result.diagnosis
    return found.label, {found.label: found.confidence, **dict(found.alternatives)}


@pytest.mark.parametrize("favourite", range(len(DIAGNOSES)))
def test_head_and_language_model_share_the_say(favourite):
    spoken_label, spoken = diagnosis_with(0.0, favourite)
    assert spoken_label == max(spoken, key=spoken.__getitem__)
    label, alone = diagnosis_with(1.0, favourite)
    assert label == DIAGNOSES[favourite]
    assert alone[label] == pytest.approx(1 / (1 + 2 * 2.718281828**-10), rel=1e-3)
    _, mixed = diagnosis_with(0.5, favourite)
    assert min(spoken[label], alone[label]) < mixed[label] < max(spoken[label], alone[label])


def test_the_head_is_part_of_the_checkpoint(tmp_path):
    from Sim4SegCore.modeling.checkpoint import load_model, save_model

    model = compact_model(diagnosis_head_weight=0.25)
    save_model(model, tmp_path / "saved")
    loaded = load_model(tmp_path / "saved")
    assert loaded.config == dataclasses.replace(model.config, lvlm=loaded.config.lvlm)
    for name, value in model.evidence_heads.state_dict().items():
        torch.testing.assert_close(
            loaded.evidence_heads.state_dict()[name], value, atol=1e-3, rtol=1e-3
        )
