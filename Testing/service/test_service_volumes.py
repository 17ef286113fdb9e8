"""Volumes through a real server: the direct call's result, progress, cancelling, refusals."""

import json
import threading
import time

import numpy as np
import pytest
from documents import numbers_in, without_numbers
from fakes import FakePredictor, picture, scan
from hypothesis import given, settings
from hypothesis import strategies as st

from Sim4SegCore import Case, Sim4SegError
from Sim4SegCore.service.client import Options
from Sim4SegCore.service.protocol import Axis, ImageDescription, describe_volume
from Sim4SegCore.service.transport import ServiceError
from Sim4SegCore.volume import SliceOptions, VolumeCase
from Sim4SegCore.volume.output import volume_result_to_dict
from Sim4SegCore.volume.slice_view import AXIS_CHOICES

SLICES = Options(mode="slices")


@pytest.mark.parametrize(
    ("more", "meant"),
    [
        ({}, SliceOptions()),
        ({"axis": "sagittal"}, SliceOptions(axis="sagittal")),
        ({"axis": "j", "scouts": 2, "key_slices": 1}, SliceOptions("j", scouts=2, key_slices=1)),
        ({"mode": "volume", "scouts": 3}, SliceOptions(mode="volume", scouts=3)),
    ],
)
def test_answers_equal_the_direct_call(serve, more, meant):
    volume = scan()
    expected = FakePredictor().segment_volume(volume, "Is there a tumor?", meant)
    with serve().client() as client:
        answer = client.ask(volume, "Is there a tumor?", Options(**{"mode": "slices", **more}))
    assert answer.document == volume_result_to_dict(expected)
    assert len(answer.masks) == 1 and np.array_equal(answer.masks[0], expected.mask)
    assert (answer.slice, answer.similarity, answer.candidates) == (0, None, None)


def test_the_body_part_travels_since_it_chooses_the_window(serve):
    volume = scan()
    running = serve()
    with running.client() as client:
        image = client.prepare(volume)
        client.send(image)
        stored = running.hub.images.get(image.hash).volume()
    assert (stored.modality, stored.body_part, stored.window) == ("CT", "head/neck", (40.0, 80.0))
    assert stored.geometry == volume.geometry
    assert np.array_equal(stored.voxels, volume.voxels)


def test_an_answer_becomes_a_result_that_saves_the_same_files(serve, tmp_path):
    plain = scan()
    volume = VolumeCase(plain.voxels, plain.geometry, mask_suffix=".nrrd", warnings=("it was odd",))
    expected = FakePredictor().segment_volume(volume, "What?")
    with serve().client() as client:
        answer = client.ask(volume, "What?", SLICES)
    result = answer.to_volume_result(volume)
    result.save(tmp_path / "ours")
    expected.save(tmp_path / "theirs")
    for name in ("mask.nrrd", "overlay.png"):
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes()
    documents = [json.loads((tmp_path / n / "result.json").read_text()) for n in ("ours", "theirs")]
    assert documents[0] == documents[1]
    with pytest.raises(Sim4SegError, match="size"):
        answer.to_volume_result(scan(shape=(5, 5, 5)))


@settings(max_examples=25, deadline=None)
@given(
    part=st.none() | st.text(max_size=80) | st.sampled_from(["head", "abdomen/pelvis", "l-spine"])
)
def test_a_volume_with_any_body_part_can_be_sent(part):
    plain = scan()
    description, _ = describe_volume(VolumeCase(plain.voxels, plain.geometry, body_part=part))
    kept = description.body_part
    assert kept is None or kept == part
    assert (b"body_part" in description.canonical()) == (kept is not None)
    if part in ("head", "abdomen/pelvis", "l-spine"):
        assert kept == part


def test_descriptions_without_a_body_part_are_hashed_as_before():
    description = ImageDescription([1, 2, 3], "uint8")
    assert description.canonical() == (
        b'{"channels":1,"dtype":"uint8","geometry":null,"modality":null,'
        b'"shape":[1,2,3],"window":null}'
    )


def test_axes_are_those_of_volumes():
    assert Axis.__args__ == AXIS_CHOICES


def test_progress_has_stages_and_time(serve):
    seen = []
    with serve(FakePredictor(seconds=1.5)).client() as client:
        client.ask(scan(shape=(30, 8, 8)), "What?", SLICES, progress=seen.append)
    fractions = [step.fraction for step in seen]
    assert fractions == sorted(fractions) and len(set(fractions)) > 2
    assert {"mask"} <= {step.stage for step in seen}
    assert any(step.remaining_s and 0 < step.remaining_s < 10 for step in seen)


def test_a_cancelled_volume_frees_the_device_at_its_next_step(serve):
    class EnoughError(Exception):
        pass

    def stop(step):
        if step.stage == "mask":
            raise EnoughError

    predictor = FakePredictor(seconds=600.0)
    running = serve(predictor)
    with running.client() as client:
        with pytest.raises(EnoughError):
            client.ask(scan(shape=(6000, 4, 4)), "Slow?", SLICES, progress=stop)
        predictor.seconds = 0.0
        assert client.ask(picture(), "Quick?").document["query"] == "Quick?"
    assert predictor.answered == ["Quick?"]


def test_those_who_wait_behind_a_volume_are_told_how_long(serve):
    predictor = FakePredictor(seconds=0.2)
    running = serve(predictor)
    known = []

    def note(step):
        if step.stage == "queued" and step.remaining_s is not None:
            known.append(step.remaining_s)

    with running.client() as client, running.client() as other:
        client.ask(picture(), "Pace of a slice?")
        predictor.seconds = 3.0
        first = threading.Thread(target=client.ask, args=(scan(shape=(60, 4, 4)), "Long?", SLICES))
        first.start()
        while not running.hub.health().jobs:
            time.sleep(0.01)
        other.ask(picture(), "After it?", progress=note)
        first.join()
    assert known and max(known) > 0.5, "only the own 0.2 s were foretold"


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ({"mode": "slices", "slice": 2}, "invalid", "slice: it belongs to the mode slice;"),
        ({"mode": "slices", "samples": 4}, "invalid", "samples: it belongs to the mode slice;"),
        ({"slice": 2, "axis": "i"}, "invalid", "axis: it belongs to the mode slices;"),
        ({"mode": "slices", "axis": "diagonal"}, "invalid", "axis: "),
        ({"mode": "slices", "key_slices": 0}, "invalid", "key_slices: "),
        ({"mode": "slices", "scouts": 1000}, "invalid", "scouts: "),
        ({"mode": "movie"}, "invalid", "mode: "),
        ({"mode": "volume", "masks": 2}, "invalid", "masks: it belongs to the mode slice;"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_refused_by_name(serve, body, code, said):
    running = serve()
    with running.client() as client:
        image = client.prepare(scan())
        client.send(image)
    reply = running.call("POST", "/v1/jobs", json={"image": image.hash, "query": "?", **body})
    assert reply.status_code == 422
    problem = reply.json()
    assert problem["code"] == code and problem["detail"].startswith(said)


def test_what_is_no_volume_is_refused_before_it_waits(serve):
    voxels = scan().voxels
    broken = np.where(voxels > 800, np.nan, voxels).astype(np.float32)
    with serve().client() as client:
        with pytest.raises(ServiceError, match="one slice, no volume"):
            client.ask(client.prepare_volume(voxels[:1], scan().geometry), "?", SLICES)
        with pytest.raises(ServiceError, match="without a geometry"):
            client.ask(client.prepare_volume(voxels), "?", SLICES)
        with pytest.raises(ServiceError, match="NaN"):
            client.ask(client.prepare_volume(broken, scan().geometry), "?", SLICES)
        with pytest.raises(ServiceError, match="same value"):
            client.ask(client.prepare_volume(voxels * 0, scan().geometry), "?", SLICES)


def expected_of(volume, number):
    """Options, and what a call without the service gives; every fifth is about the whole."""
    if number % 5 == 0:
        options = Options(mode="slices", key_slices=1)
        result = FakePredictor().segment_volume(volume, f"{number}?", SliceOptions(key_slices=1))
        return options, volume_result_to_dict(result), result.mask
    index = number % len(volume.voxels)
    predictor = FakePredictor()
    predictor.set_image(Case(volume.voxels[index]))
    return Options(slice=index), None, predictor.ask(f"{number}?").mask[np.newaxis]


def test_eight_clients_with_volumes_of_different_sizes_get_their_own_answers(serve):
    predictor = FakePredictor(seconds=0.01)
    running = serve(predictor)
    wrong = []

    def work(client_number):
        volume = scan(client_number, (3 + client_number, 9 + 5 * client_number, 12))
        with running.client() as client:
            image = client.prepare(volume)
            for number in range(20):
                options, document, mask = expected_of(volume, number)
                answer = client.ask(image, f"{number}?", options)
                if not np.array_equal(answer.masks[0], mask) or (
                    document is not None
                    and {**answer.document, "timing": 0} != {**document, "timing": 0}
                ):
                    wrong.append((client_number, number))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert sorted(predictor.answered) == sorted(
        f"{number}?" for number in range(20) for _ in range(8)
    )
    assert len(running.hub.images) == 8


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["slices", "volume"])
def test_the_embedded_model_segments_a_volume_as_in_the_direct_call(embedded, tmp_path, mode):
    from Sim4SegCore import Geometry
    from Sim4SegCore.examples import draw_phantom
    from Sim4SegCore.service import LocalService

    grey = draw_phantom()[0].mean(-1)
    voxels = np.stack([np.roll(grey, 4 * step, 0) for step in range(10)]).astype(np.uint8)
    place = Geometry((1.0, 1.0, 4.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    volume = VolumeCase(voxels, place, modality="MR")
    query = "Is there a tumor? Segment it."
    expected = embedded.segment_volume(volume, query, SliceOptions(mode=mode))
    stages = set()
    with (
        LocalService(tmp_path / "log", ["--device", "cpu"]) as service,
        service.client() as client,
    ):
        answer = client.ask(
            volume,
            query,
            Options(mode=mode),
            progress=lambda step: stages.add(step.stage),
        )
    document, wanted = dict(answer.document), volume_result_to_dict(expected)
    assert document.pop("timing").keys() == wanted.pop("timing").keys()
    assert without_numbers(document) == without_numbers(wanted)
    # bfloat16, where the CPU has it, keeps three digits, and rounds with the number of threads.
    assert numbers_in(document) == pytest.approx(numbers_in(wanted), abs=5e-3, rel=2e-2)
    assert np.array_equal(answer.masks[0], expected.mask)
    assert stages & {"load", "mask", "answer"}
