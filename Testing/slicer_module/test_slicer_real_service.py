"""The real service with the embedded checkpoint: from a volume to segments and text."""

import os
import signal
import time

import numpy as np
import pytest
from mrml_scene import OBLIQUE, affine, slicer
from services import ManualTicker
from Sim4SegLib import segments, volumes
from Sim4SegLib.connection import Connection, ServiceSettings
from Sim4SegLib.examples import QUERIES, add_sample
from Sim4SegLib.queries import Listeners, Queries, QueryRequest

from Sim4SegCore import Case
from Sim4SegCore.examples import draw_phantom
from Sim4SegCore.volume import SliceOptions, VolumeCase

LIMIT_S = 180.0


@pytest.mark.slow
def test_the_sample_is_answered_also_after_the_service_was_killed(scene, embedded):
    connection = Connection()
    asked = Queries(lambda: scene.mrml, connection, ManualTicker(), lambda: None)
    settings = ServiceSettings(device="cpu")
    volume = add_sample(scene.mrml)
    picture, truth = draw_phantom()
    assert np.array_equal(slicer.util.arrayFromVolume(volume)[0], picture)
    try:
        first = asked.wait(asked.start(QueryRequest(volume, QUERIES[0]), settings))
        expected = embedded.segment(Case(picture), QUERIES[0])
        assert first.document["reasoning"] == expected.reasoning
        assert first.diagnosis == expected.diagnosis.label
        (segment,) = first.segmentIds
        mask = segments.segment_mask(first.segmentationNode, segment, volume)[0]
        assert np.array_equal(mask, expected.mask)
        assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.7
        assert first.document["reasoning"] in first.textNode.GetText()
        killed_while_answering(asked, connection, volume, settings)
    finally:
        asked.close()
    assert connection.pid is None


def killed_while_answering(asked, connection, volume, settings):
    seen = []
    request = QueryRequest(volume, "Is there a mole?")
    running = asked.start(request, settings, Listeners(lambda step: seen.append(step.stage)))
    until = time.monotonic() + LIMIT_S
    while not seen and time.monotonic() < until:
        running.poll()
    pid = connection.pid
    os.kill(pid, signal.SIGKILL)
    result = asked.wait(running)
    assert result.document["query"] == "Is there a mole?"
    assert result.segmentationNode.GetSegmentation().GetNumberOfSegments() >= 1


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["slices", "volume"])
def test_a_volume_in_the_scene_is_answered_as_by_a_direct_call(scene, embedded, mode):
    rows, columns = np.mgrid[:64, :64]
    depth = np.arange(6)[:, None, None]
    inside = np.hypot(rows - 30, columns - 36) < 12 - 2 * np.abs(depth - 3)
    noise = np.random.default_rng(0).normal(0, 15, inside.shape)
    voxels = (200 + 300 * inside + noise).astype(np.int16)
    volume = scene.volume(voxels, affine((0.9, 0.9, 5.0), OBLIQUE, (3, 2, 1)))
    connection = Connection()
    asked = Queries(lambda: scene.mrml, connection, ManualTicker(), lambda: None)
    query = "Is there a tumor? Segment it."
    try:
        request = QueryRequest(volume, query, mode=mode)
        result = asked.wait(asked.start(request, ServiceSettings(device="cpu")))
    finally:
        asked.close()
    image = volumes.whole(volume)
    case = VolumeCase(voxels, image.geometry, window=image.window)
    expected = embedded.segment_volume(case, query, SliceOptions(mode=mode))
    found = np.zeros(voxels.shape, bool)
    for identity in result.segmentIds:
        found |= segments.segment_mask(result.segmentationNode, identity, volume)
    assert np.array_equal(found, expected.mask)
    assert result.diagnosis == expected.diagnosis.label
    keys = [row["index"] for row in result.document["volume"]["key_slices"]]
    assert keys == [key.index for key in expected.key_slices]
    assert f"k = {keys[0]}: " in result.textNode.GetText()
