"""The real service with the embedded checkpoint: from a volume to segments and text."""

import os
import signal
import time

import numpy as np
import pytest
from mrml_scene import slicer
from services import ManualTicker
from Sim4SegLib import segments
from Sim4SegLib.connection import Connection, ServiceSettings
from Sim4SegLib.examples import QUERIES, add_sample
from Sim4SegLib.queries import Listeners, Queries, QueryRequest

from Sim4SegCore import Case
from Sim4SegCore.examples import draw_phantom

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
