"""Volumes unlike the training images are warned of in both modes, and segmented all the same."""

import dataclasses

import numpy as np
import pytest
import torch
from stacks import noise_volume
from tiny import compact_model
from tiny_familiarity import judge_for
from tiny_volumetric import Given, RandomNetwork

from Sim4SegCore import ModelIdentity, Sim4Seg
from Sim4SegCore.progress import StopAndKeepError
from Sim4SegCore.report.wording import OUTSIDE_DIAGNOSIS_WARNING, OUTSIDE_WARNING
from Sim4SegCore.volume import SliceOptions, VolumeCase
from Sim4SegCore.volume.output import volume_result_to_dict

QUERY = "Is there a polyp? Segment it."
SAID = {"slices": OUTSIDE_WARNING, "volume": OUTSIDE_DIAGNOSIS_WARNING}
NEVER, ALWAYS = 1e6, 0.0
ODD_FILE = "it was odd"


@pytest.fixture(scope="module")
def tiny():
    torch.set_num_threads(1)
    model = compact_model(presence_threshold=0.1, mask_threshold=0.49)
    model.volumetric = Given(RandomNetwork(model.lvlm.hidden_size))
    return model


@pytest.fixture
def ask(tiny):
    """`ask(limit, mode, volume)`, with a limit of None for a model that cannot tell."""

    def asked(limit, mode="slices", volume=None, progress=None):
        tiny.familiarity = None if limit is None else judge_for(tiny.lvlm, limit)
        predictor = Sim4Seg(tiny, ModelIdentity("tiny", "0", "0"), progress=progress)
        options = SliceOptions(mode=mode, scouts=2, key_slices=1)
        return predictor.segment_volume(volume or noise_volume(), QUERY, options)

    return asked


def outside_warnings(result):
    return [warning for warning in result.warnings if "outside what the" in warning]


@pytest.mark.parametrize("mode", SAID)
def test_what_is_outside_is_warned_of_in_the_words_of_its_mode(ask, mode):
    inside, outside = ask(NEVER, mode), ask(ALWAYS, mode)
    assert outside_warnings(outside) == [SAID[mode]] and outside_warnings(inside) == []
    for result, is_outside in ((inside, False), (outside, True)):
        assert volume_result_to_dict(result)["familiarity"]["is_outside"] is is_outside
    assert np.array_equal(inside.mask, outside.mask) and outside.mask.any()
    assert outside.diagnosis.confidence == inside.diagnosis.confidence
    assert outside.diagnosis.uncertain == (outside.diagnosis.label is not None)


@pytest.mark.parametrize("mode", SAID)
def test_a_model_that_cannot_tell_says_nothing_of_volumes(ask, mode):
    result = ask(None, mode)
    assert result.familiarity is None and outside_warnings(result) == []
    assert volume_result_to_dict(result)["familiarity"] is None


@pytest.mark.parametrize("mode", SAID)
def test_what_was_odd_about_the_file_stands_first_as_in_answers_of_a_service(ask, mode):
    volume = dataclasses.replace(noise_volume(), warnings=(ODD_FILE,))
    assert ask(ALWAYS, mode, volume).warnings[:2] == (ODD_FILE, SAID[mode])


@pytest.mark.parametrize("mode", SAID)
def test_a_warning_survives_stopping_early(ask, mode):
    def stop(step):
        if step.fraction > 0.3:
            raise StopAndKeepError

    result = ask(ALWAYS, mode, progress=stop)
    assert not result.is_complete and outside_warnings(result) == [SAID[mode]]


def test_slices_of_few_pixels_are_not_judged(ask):
    result = ask(ALWAYS, volume=noise_volume((6, 31, 50)))
    assert result.familiarity is None and outside_warnings(result) == []


def test_slices_that_show_next_to_nothing_are_not_judged(ask):
    dark = np.zeros((6, 40, 50), np.int16)
    dark[:, 10:12, 10:20] = 900
    geometry = noise_volume().geometry
    assert ask(ALWAYS, volume=VolumeCase(dark, geometry)).familiarity is None
    dark[:, 10:30, 10:40] = 900
    assert ask(ALWAYS, volume=VolumeCase(dark, geometry)).familiarity.is_outside
