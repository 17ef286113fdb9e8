"""Images unlike the training images are told apart, warned of, and nothing else changes."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import QUERY, compact_model, picture
from tiny_familiarity import features, judge_for

from Sim4SegCore import Case, Familiarity, ModelIdentity, Sim4Seg, Sim4SegError
from Sim4SegCore.frame import Frame
from Sim4SegCore.modalities import codes_of, names_of
from Sim4SegCore.modeling.familiarity import (
    median_of,
    pooled_features,
    shows_enough,
)
from Sim4SegCore.modeling.familiarity_file import (
    FAMILIARITY_FILE,
    load_familiarity,
    save_familiarity,
)
from Sim4SegCore.modeling.sim4seg import Sim4SegModel
from Sim4SegCore.output import result_to_dict
from Sim4SegCore.report.wording import OUTSIDE_WARNING


def predictor(limit: float | None) -> Sim4Seg:
    model = compact_model()
    model.familiarity = None if limit is None else judge_for(model.lvlm, limit)
    return Sim4Seg(model, ModelIdentity("tiny", "", ""))


def image(height: int = 40, width: int = 120) -> Case:
    return Case(picture(0, height, width).permute(1, 2, 0).numpy())


def test_every_family_of_models_can_be_judged(model: Sim4SegModel) -> None:
    judge = judge_for(model.lvlm, 1.0)
    frame = Frame.longest_side((40, 120), model.lvlm.config.image_size)
    vision = model.lvlm.see(frame.apply(picture(0))[None].repeat(2, 1, 1, 1))
    first, second = judge.of(model.lvlm, vision, [frame, frame])
    assert first.distance == pytest.approx(second.distance)
    assert first.distance > 0


def test_what_is_outside_is_warned_of_and_its_diagnosis_uncertain() -> None:
    inside, outside = (predictor(limit).segment(image(), QUERY) for limit in (1e6, 0.0))
    assert OUTSIDE_WARNING not in inside.warnings and outside.warnings[0] == OUTSIDE_WARNING
    assert (outside.diagnosis.label is not None) == outside.diagnosis.uncertain
    assert (inside.mask == outside.mask).all()
    assert inside.diagnosis.confidence == outside.diagnosis.confidence
    document = result_to_dict(outside)
    assert document["familiarity"]["is_outside"] is True
    assert document["familiarity"]["limit"] == 0.0
    assert any("outside what the model" in text for text in document["report"]["limitations"])
    assert not any("confidence is too low" in text for text in document["report"]["limitations"])


@pytest.mark.parametrize(
    ("modality", "is_outside"),
    [("CT", True), ("PT", True), ("MG", True), ("MR", False), ("OT", False), (None, False)],
)
def test_a_modality_that_was_never_taught_is_outside(
    modality: str | None, is_outside: bool
) -> None:
    asked = predictor(1e6)
    assert asked.model.familiarity is not None
    taught = codes_of(["MRI", "X-ray", "fundus photograph"])
    asked.model.familiarity = dataclasses.replace(asked.model.familiarity, taught=taught)
    result = asked.segment(dataclasses.replace(image(), modality=modality), QUERY)
    assert result.familiarity is not None and result.familiarity.is_outside == is_outside
    assert any(f"({modality})" in text for text in result.warnings) == is_outside
    told = result_to_dict(result)["familiarity"]["untaught_modality"]
    assert told == (modality if is_outside else None)


def test_hounsfield_units_are_a_ct_even_if_no_file_says_so() -> None:
    asked = predictor(1e6)
    assert asked.model.familiarity is not None
    asked.model.familiarity = dataclasses.replace(asked.model.familiarity, taught=("MR",))
    grey = np.linspace(-1000, 400, 40 * 120).reshape(40, 120).astype(np.int16)
    judged = asked.segment(Case(grey), QUERY).familiarity
    assert judged is not None and judged.untaught_modality == "CT"
    assert not predictor(1e6).segment(Case(grey), QUERY).familiarity.is_outside  # type: ignore[union-attr]


def test_codes_of_what_sets_call_their_images() -> None:
    assert codes_of(["MRI", "X-ray"]) == ("CR", "DX", "MR", "RG")
    assert codes_of(["dermoscopy", "endoscopy", "ultrasound"]) == ("DMS", "ES", "US")
    assert codes_of(["a drawing"]) == ()
    assert "x-ray" in names_of("mg") and names_of("OT") == names_of(None) == ()


def test_a_checkpoint_that_cannot_tell_says_nothing() -> None:
    result = predictor(None).segment(image(), QUERY)
    assert result.familiarity is None and OUTSIDE_WARNING not in result.warnings
    assert result_to_dict(result)["familiarity"] is None


def test_too_small_an_image_is_not_judged() -> None:
    assert predictor(0.0).segment(image(31, 90), QUERY).familiarity is None
    assert predictor(0.0).segment(image(32, 90), QUERY).familiarity is not None


def test_what_pads_an_image_is_not_looked_at(compact: Sim4SegModel) -> None:
    frame = Frame.longest_side((40, 120), compact.lvlm.config.image_size)
    plain = frame.apply(picture(0))[None]
    vision = compact.lvlm.see(plain)
    assert vision.feature_maps is not None
    for stage in vision.feature_maps:
        rows = stage.shape[-1] * frame.content[0] // frame.side + 1
        stage[:, :, rows:] = 1e6
    assert pooled_features(vision, [frame]).max() < 1e3


def test_it_is_saved_and_loaded_beside_the_weights(compact: Sim4SegModel, tmp_path: Path) -> None:
    judge = dataclasses.replace(judge_for(compact.lvlm, 1.25), taught=("MR", "US"))
    assert load_familiarity(tmp_path) is None
    save_familiarity(dataclasses.replace(judge, limit=7.0), tmp_path)
    save_familiarity(judge, tmp_path)
    loaded = load_familiarity(tmp_path)
    assert loaded is not None and loaded.limit == 1.25
    assert loaded.taught == ("MR", "US")
    seen = features(compact.lvlm)
    assert torch.allclose(loaded.distances(seen), judge.distances(seen), rtol=1e-2)
    assert [path.name for path in tmp_path.iterdir()] == [FAMILIARITY_FILE]


def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / FAMILIARITY_FILE).write_bytes(b"nothing")
    with pytest.raises(Sim4SegError, match="is damaged"):
        load_familiarity(tmp_path)


def test_statistics_of_other_weights_are_refused() -> None:
    asked = predictor(1.0)
    other = copy.deepcopy(asked.model)
    with torch.no_grad():
        next(other.lvlm.vision_tower.parameters()).add_(0.5)
    with pytest.raises(Sim4SegError, match=r"run\.py familiarity"):
        Sim4Seg(other, ModelIdentity("other", "", "")).segment(image(), QUERY)


def test_a_volume_is_what_the_median_of_its_slices_is() -> None:
    judged = [Familiarity(distance, 1.0) for distance in (0.1, 0.2, 9.0)]
    middle = median_of(judged)
    assert middle is not None and not middle.is_outside and middle.distance == 0.2
    assert median_of([]) is None
    foreign = median_of([Familiarity(0.1, 1.0, "CT"), Familiarity(0.3, 1.0, "CT")])
    assert foreign == Familiarity(pytest.approx(0.2), 1.0, "CT")


def test_slices_that_show_next_to_nothing_are_left_out() -> None:
    frame = Frame.longest_side((64, 32), 64)
    dark = torch.zeros(3, 64, 64, dtype=torch.uint8)
    dark[:, :3, :32] = 200
    assert not shows_enough(dark, frame)
    dark[:, :8, :32] = 200
    assert shows_enough(dark, frame)
