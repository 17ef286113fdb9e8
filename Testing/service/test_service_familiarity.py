"""Whether an image is outside what the model was trained on travels with the answer."""

import json

import numpy as np
import pytest
from fakes import FakePredictor, picture, scan

from Sim4SegCore import Familiarity
from Sim4SegCore.service.client import Options
from Sim4SegCore.volume import SliceOptions, VolumeCase

STRANGE, KNOWN = Familiarity(0.5, 1.25, "CT"), Familiarity(0.5, 1.25)
WHOLE = Options(similarity="float32")


@pytest.mark.parametrize("familiarity", [STRANGE, KNOWN, None], ids=["strange", "known", "unknown"])
@pytest.mark.parametrize("mode", ["slice", "slices"])
def test_documents_and_results_say_what_the_model_says(serve, familiarity, mode):
    image = picture() if mode == "slice" else scan()
    options = WHOLE if mode == "slice" else Options(mode=mode)
    with serve(FakePredictor(familiarity=familiarity)).client() as client:
        answer = client.ask(image, "What?", options)
    told = answer.document["familiarity"]
    if familiarity is None:
        assert told is None
    else:
        outside = familiarity is STRANGE
        assert told == {
            "is_outside": outside,
            "distance": familiarity.distance,
            "limit": 1.25,
            "untaught_modality": familiarity.untaught_modality,
        }
    made = answer.to_result(image) if mode == "slice" else answer.to_volume_result(image)
    assert made.familiarity == familiarity


def test_an_older_service_leaves_it_unknown(serve):
    with serve(FakePredictor(familiarity=STRANGE)).client() as client:
        image, volume = (
            client.ask(picture(), "What?", WHOLE),
            client.ask(scan(), "What?", Options(mode="slices")),
        )
    for answer in (image, volume):
        del answer.document["familiarity"]
    assert image.to_result(picture()).familiarity is None
    assert volume.to_volume_result(scan()).familiarity is None


def test_a_volumetric_answer_saves_the_files_of_the_direct_call(serve, tmp_path):
    volume = VolumeCase(scan().voxels, scan().geometry, warnings=("it was odd",))
    predictor = FakePredictor(familiarity=STRANGE)
    expected = predictor.segment_volume(volume, "What?", SliceOptions(mode="volume"))
    with serve(predictor).client() as client:
        answer = client.ask(volume, "What?", Options(mode="volume"))
    result = answer.to_volume_result(volume)
    result.save(tmp_path / "ours")
    expected.save(tmp_path / "theirs")
    ours, theirs = (
        json.loads((tmp_path / name / "result.json").read_text()) for name in ("ours", "theirs")
    )
    assert ours == theirs and ours["volume"]["mode"] == "volume"
    assert np.array_equal(result.mask, expected.mask)
