"""Slice-wise inference with a tiny model of random weights: its logic, not its quality."""

import dataclasses

import numpy as np
import pytest
import torch
from stacks import STORED, marked_places, noise_volume, stored_anew
from tiny import compact_model, model_from_folder, write_llava

from Sim4SegCore import Case, Geometry, ModelIdentity, Sim4Seg, Sim4SegError
from Sim4SegCore.modeling.answer import PromptStyle
from Sim4SegCore.progress import StopAndKeepError
from Sim4SegCore.volume import SliceOptions, VolumeCase
from Sim4SegCore.volume.grounding import SliceGrounder
from Sim4SegCore.volume.slices import SlicePictures

QUERY = "Is there a polyp? Segment it."
EAGER = {"presence_threshold": 0.1, "mask_threshold": 0.49}


@pytest.fixture(scope="module")
def tiny():
    torch.set_num_threads(1)
    return compact_model(**EAGER)


@pytest.fixture
def predictor(tiny):
    return Sim4Seg(tiny, ModelIdentity("tiny", "0", "0"))


@pytest.fixture(scope="module")
def reference(tiny):
    return Sim4Seg(tiny, ModelIdentity("tiny", "0", "0")).segment_volume(noise_volume(), QUERY)


@pytest.mark.parametrize(
    ("order", "is_reversed"),
    [
        *[((0, 1, 2), flips) for order, flips in STORED if order == (0, 1, 2)],
        ((0, 2, 1), (False, True, False)),
        ((1, 2, 0), (True, False, True)),
        ((2, 1, 0), (False, False, False)),
        ((2, 0, 1), (True, True, True)),
        ((1, 0, 2), (False, False, True)),
    ],
)
def test_the_same_anatomy_is_marked_however_the_volume_is_stored(
    predictor, reference, order, is_reversed
):
    anew = stored_anew(noise_volume(), order, is_reversed)
    result = predictor.segment_volume(anew, QUERY)
    assert result.mask.shape == anew.shape and result.mask.any()
    expected = marked_places(reference.mask, reference.case.geometry)
    assert np.allclose(marked_places(result.mask, anew.geometry), expected, atol=0.01)
    assert result.findings[0].measurements == pytest.approx(reference.findings[0].measurements)
    assert result.diagnosis.label == reference.diagnosis.label


def test_batches_of_any_size_give_the_same(predictor, reference):
    for batch in (1, 4, 100):
        result = predictor.segment_volume(noise_volume(), QUERY, SliceOptions(batch=batch))
        assert np.mean(result.mask != reference.mask) < 1e-3
        found, expected = ([score.presence for score in one.slices] for one in (result, reference))
        assert found == pytest.approx(expected, abs=1e-4)


def test_results_are_consistent(reference):
    view, sizes = reference.view, reference.findings[0].measurements
    assert [score.index for score in reference.slices] == list(range(6))
    marked = [n for n in range(6) if reference.mask[n].any()]
    assert reference.slice_range == (marked[0], marked[-1])
    areas = sum(score.area_mm2 for score in reference.slices)
    assert areas * view.spacing[0] == pytest.approx(sizes["volume_mm3"])
    assert sizes["voxels"] == reference.mask.sum() > 0
    assert sizes["volume_mm3"] == pytest.approx(sizes["voxels"] * 9.0)
    assert sum(key.weight for key in reference.key_slices) == pytest.approx(1)
    assert all(reference.mask[key.index].any() for key in reference.key_slices)
    assert reference.is_complete
    assert set(reference.timing) == {"slices", "masks", "answer"}


@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal", "i", "j", "k"])
def test_any_axis_can_be_asked_for(predictor, axis):
    case = noise_volume((4, 5, 6))
    result = predictor.segment_volume(case, QUERY, SliceOptions(axis=axis))
    expected = {"axial": "k", "coronal": "j", "sagittal": "i"}.get(axis, axis)
    assert result.view.index_axis == expected
    assert len(result.slices) == {"k": 4, "j": 5, "i": 6}[expected]


def test_anisotropic_slices_are_seen_in_their_physical_proportions(predictor):
    """A coronal view of thick slices: 1:10, so that a circle is ten times wider than high."""
    depth, across = np.mgrid[:12, :120]
    disc = np.hypot((depth - 5.5) * 10, across - 59.5) < 45
    voxels = np.repeat((disc * 900)[:, None], 3, axis=1).astype(np.int16)
    case = VolumeCase(voxels, Geometry((1.0, 1.0, 10.0), (0.0,) * 3, (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    seen = []
    see = predictor.model.lvlm.see
    predictor.model.lvlm.see = lambda images: seen.append(images) or see(images)
    try:
        predictor.segment_volume(case, QUERY, SliceOptions(axis="coronal"))
    finally:
        predictor.model.lvlm.see = see
    for images in seen:
        bright = images[0, 0] > 127
        height, width = bright.any(1).sum(), bright.any(0).sum()
        assert abs(int(height) - int(width)) <= 8 and width > 30


@pytest.mark.parametrize("kind", ["llava"])
def test_a_model_with_an_image_encoder_of_its_own_for_sam(tmp_path, kind):
    model = model_from_folder(write_llava(tmp_path / kind), PromptStyle())
    predictor = Sim4Seg(model, ModelIdentity(kind, "0", "0"))
    result = predictor.segment_volume(noise_volume((3, 20, 30)), QUERY)
    assert [score.presence is not None for score in result.slices] == [True] * 3


def test_colour_stacks_are_segmented(predictor):
    colours = np.random.default_rng(0).integers(0, 255, (3, 20, 30, 3), dtype=np.uint8)
    case = VolumeCase(colours, noise_volume().geometry)
    result = predictor.segment_volume(case, QUERY)
    assert result.mask.shape == (3, 20, 30)
    assert "intensity_mean" not in result.findings[0].measurements


def test_empty_slices_are_not_looked_at(predictor):
    voxels = noise_volume().voxels.copy()
    voxels[:2] = -2000
    result = predictor.segment_volume(VolumeCase(voxels, noise_volume().geometry), QUERY)
    assert [score.presence is None for score in result.slices] == [True, True, *[False] * 4]
    assert not result.mask[0].any()


@pytest.mark.parametrize(
    ("query", "label", "is_warned"),
    [
        (QUERY, "cardiomediastinum", True),
        (QUERY, "polyps", False),
        ("Segment the left kidney.", "left lung", True),
        ("Segment the lung on the left.", "left lung", False),
    ],
)
def test_an_answer_about_something_else_is_warned_of(
    predictor, monkeypatch, query, label, is_warned
):
    segment = predictor.segment

    def understood(image, text, scaling):
        result = segment(image, text, scaling)
        finding = dataclasses.replace(result.findings[0], label=label)
        return dataclasses.replace(result, findings=(finding,))

    monkeypatch.setattr(predictor, "segment", understood)
    result = predictor.segment_volume(noise_volume(), query)
    assert result.findings[0].label == label
    assert any("which it does not name" in warning for warning in result.warnings) is is_warned


@pytest.mark.parametrize(
    ("distance", "drawn_numbers", "most"),
    [(1.0, [*range(0, 24, 2), 23], 8), (2.0, list(range(24)), 9), (5.0, list(range(24)), 24)],
)
def test_of_thin_slices_not_all_are_drawn_and_fewer_read(
    predictor, monkeypatch, distance, drawn_numbers, most
):
    voxels = np.random.default_rng(0).integers(0, 900, (24, 20, 20)).astype(np.int16)
    geometry = Geometry((0.5, 0.5, distance), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    read, drawn = [], []
    for method, seen in (("read", read), ("draw", drawn)):
        own = getattr(SliceGrounder, method)
        monkeypatch.setattr(
            SliceGrounder,
            method,
            lambda self, numbers, *rest, own=own, seen=seen: (
                seen.extend(numbers) or own(self, numbers, *rest)
            ),
        )
    case = VolumeCase(voxels, geometry, modality="MR")
    result = predictor.segment_volume(case, "Segment the tumor.")
    assert drawn == drawn_numbers
    assert result.mask[12].any() and result.mask[13].any()
    assert len(read) == len(set(read)) and len(read) <= most
    assert all(score.presence is not None for score in result.slices)


@pytest.mark.parametrize("distance", [2.0, 2.5, 6.0])
@pytest.mark.parametrize("batch", [1, 8])
def test_masks_are_those_that_drawing_every_slice_gives(predictor, monkeypatch, distance, batch):
    """Presence rises and falls along the stack, so that most of it need not be drawn."""
    count, drawn = 40, []
    voxels = np.random.default_rng(0).integers(0, 900, (count, 20, 20)).astype(np.int16)
    geometry = Geometry((1.0, 1.0, distance), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    case = VolumeCase(voxels, geometry, modality="MR")
    read, draw = SliceGrounder.read, SliceGrounder.draw

    def read_with_two_hills(self, numbers, seg_state):
        places = torch.tensor(numbers, dtype=torch.float32)
        hills = 8 - torch.minimum((places - 9).abs(), (places - 30).abs() + 7.5)
        return dataclasses.replace(read(self, numbers, seg_state), presence_logits=hills)

    def note(self, numbers, *rest):
        drawn.extend(numbers)
        return draw(self, numbers, *rest)

    monkeypatch.setattr(SliceGrounder, "read", read_with_two_hills)
    monkeypatch.setattr(SliceGrounder, "draw", note)
    options = SliceOptions(batch=batch)
    result = predictor.segment_volume(case, QUERY, options)
    assert drawn == sorted(set(drawn)) and 0 < len(drawn) < count
    seldom = list(drawn)
    everything = torch.ones(count, dtype=torch.bool)
    monkeypatch.setattr("Sim4SegCore.volume.looking.worth_drawing", lambda *_: everything)
    complete = predictor.segment_volume(case, QUERY, options)
    assert drawn[len(seldom) :] == list(range(count))
    assert result.mask.any() and np.array_equal(result.mask, complete.mask)
    assert result.slices == complete.slices


def test_a_slice_that_was_scouted_is_not_seen_again(predictor, monkeypatch):
    seen = []
    see = predictor.model.lvlm.see
    monkeypatch.setattr(predictor.model.lvlm, "see", lambda i: seen.append(len(i)) or see(i))
    predictor.segment_volume(noise_volume(), QUERY, SliceOptions(scouts=6, key_slices=1))
    assert sum(seen) == 6 + 1  # and once more for the answer of the key slice


def test_presence_of_a_slice_is_what_it_says_when_it_is_asked_alone(predictor):
    voxels = np.random.default_rng(1).integers(0, 900, (5, 24, 24)).astype(np.int16)
    voxels[3] //= 4
    geometry = Geometry((1.0, 1.0, 6.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    case = VolumeCase(voxels, geometry, modality="MR")
    result = predictor.segment_volume(case, QUERY)
    pictures = SlicePictures(case, result.view, result.window)
    scores = {score.index: score for score in result.slices}
    for number in range(len(pictures)):
        score = scores[result.view.index(number)]
        alone = predictor.segment(pictures.case(number), QUERY)
        assert score.presence == pytest.approx(alone.findings[0].confidence, abs=2e-3)
        assert not score.is_interpolated


# ------------------------------------------------------------------- progress, cancel, memory


def test_fractions_never_fall_and_the_image_set_before_stays(predictor):
    image = Case(np.random.default_rng(0).integers(0, 255, (30, 40), dtype=np.uint8))
    predictor.set_image(image)
    steps = []
    predictor.progress = steps.append
    predictor.segment_volume(noise_volume(), QUERY, SliceOptions(batch=2))
    fractions = [step.fraction for step in steps]
    assert fractions == sorted(fractions) and fractions[0] == 0 and fractions[-1] < 1
    assert len(set(fractions)) > 5
    assert predictor.encoded.case is image
    assert predictor.progress == steps.append


@pytest.mark.parametrize("after", [0, 6, 9])
def test_what_a_listener_raises_ends_the_work(predictor, reference, after):
    class EndedError(Exception):
        pass

    steps = []

    def end(step):
        steps.append(step)
        if len(steps) > after:
            raise EndedError

    predictor.progress = end
    with pytest.raises(EndedError):
        predictor.segment_volume(noise_volume(), QUERY, SliceOptions(batch=2))
    assert len(steps) == after + 1
    predictor.progress = lambda step: None
    again = predictor.segment_volume(noise_volume(), QUERY)
    assert np.array_equal(again.mask, reference.mask)


def test_stopping_early_keeps_the_slices_that_were_looked_at(predictor):
    def stop(step):
        if step.fraction > 0.5:
            raise StopAndKeepError

    predictor.progress = stop
    result = predictor.segment_volume(noise_volume(), QUERY, SliceOptions(batch=2))
    assert not result.is_complete
    assert [score.presence is None for score in result.slices] == [False] * 2 + [True] * 4
    assert result.mask.any() and not result.mask[2:].any()
    assert result.diagnosis.label is None and result.key_slices == ()
    assert "2 of 6 slices were looked at" in result.warnings[-1]


def test_stopping_before_anything_was_seen_gives_an_empty_result(predictor):
    def stop(step):
        raise StopAndKeepError

    predictor.progress = stop
    result = predictor.segment_volume(noise_volume(), QUERY)
    assert not result.is_complete and not result.mask.any()


def test_short_memory_makes_batches_smaller_and_says_so(predictor, reference, monkeypatch):
    sizes = []
    draw = SliceGrounder.draw

    def hungry(self, numbers, seg_state, similarity):
        sizes.append(len(numbers))
        if len(numbers) > 2:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return draw(self, numbers, seg_state, similarity)

    monkeypatch.setattr(SliceGrounder, "draw", hungry)
    result = predictor.segment_volume(noise_volume(), QUERY, SliceOptions(batch=8))
    assert sizes == [6, 3, 1, 1, 1, 1, 1, 1]
    assert np.mean(result.mask != reference.mask) < 1e-3
    assert any("memory ran short" in warning for warning in result.warnings)


def test_no_memory_for_one_slice_is_one_sentence(predictor, monkeypatch):
    def starved(self, numbers, seg_state):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")

    monkeypatch.setattr(SliceGrounder, "read", starved)
    with pytest.raises(Sim4SegError, match="not enough memory"):
        predictor.segment_volume(noise_volume(), QUERY)


def test_other_errors_of_torch_are_not_hidden(predictor, monkeypatch):
    def broken(self, numbers, seg_state):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(SliceGrounder, "read", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        predictor.segment_volume(noise_volume(), QUERY)


@pytest.mark.parametrize("options", [{"batch": 0}, {"scouts": 0}, {"key_slices": 0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(Sim4SegError):
        SliceOptions(**options)


def test_unusable_queries_are_refused(predictor):
    with pytest.raises(Sim4SegError, match="empty"):
        predictor.segment_volume(noise_volume(), " ")
