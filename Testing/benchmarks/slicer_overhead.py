"""What the Slicer module adds to a query: time outside of inference, and how long the window waits.

python Testing/benchmarks/slicer_overhead.py

A 512 x 512 x 200 volume in a real MRML scene is asked about. A service process answers, whose
predictor marks what is brighter than the mean: the time from Apply to the segments holds the hash,
the upload, the download, the checks and the import. The main thread does as in Slicer: it calls the
module every TICK_MS, which waits POLL_S at most for news, and lets no other thread of Python run in
between. Needs slicer-core (Linux).
"""

from __future__ import annotations

import ctypes
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT, ROOT / "Sim4SegSlicer", ROOT / "Testing" / "slicer_module"):
    sys.path.insert(0, str(folder))

import numpy as np  # noqa: E402
from mrml_scene import Scene, affine, slicer  # noqa: E402
from services import FakeLocalService  # noqa: E402
from Sim4SegLib import segments  # noqa: E402
from Sim4SegLib.connection import Connection, ServiceSettings  # noqa: E402
from Sim4SegLib.queries import Queries, QueryRequest  # noqa: E402

SHAPE = (200, 512, 512)
REPEATS = 5
T = TypeVar("T")
# Through PyDLL, so that Python's lock is held meanwhile, as Slicer's event loop holds it.
_idle_us = ctypes.PyDLL(None).usleep


class SlicerLoop:
    """The main thread: a timer's ticks, and nothing of Python between them."""

    def __init__(self) -> None:
        self._callback: Callable[[], None] | None = None
        self._interval_s = 0.0
        self.longest_s = 0.0

    def start(self, callback: Callable[[], None], interval_ms: int) -> None:
        """As `queries.Ticker`."""
        self._callback, self._interval_s = callback, interval_ms / 1000

    def stop(self) -> None:
        """As `queries.Ticker`."""
        self._callback = None

    def run(self) -> None:
        """Until the timer is stopped."""
        due = time.perf_counter()
        while self._callback is not None:
            due = max(due + self._interval_s, time.perf_counter())
            _idle_us(int(1e6 * max(0.0, due - time.perf_counter())))
            self.call(self._callback)

    def call(self, function: Callable[[], T]) -> T:
        """What the window waits for."""
        began = time.perf_counter()
        result = function()
        self.longest_s = max(self.longest_s, time.perf_counter() - began)
        return result


@dataclass
class Times:
    """Seconds of each repeat: from Apply to the segments, and of the longest call."""

    totals: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        total, wait = (1000 * statistics.median(each) for each in (self.totals, self.waits))
        return (
            f"{total:.0f} ms from Apply to the segments (longest {1000 * max(self.totals):.0f}), "
            f"the window waits {wait:.0f} ms at most (longest {1000 * max(self.waits):.0f})"
        )


def ask(scene: Scene, service: FakeLocalService, request: QueryRequest, times: Times) -> Any:
    """The segmentation node that was filled."""
    loop = SlicerLoop()
    queries = Queries(lambda: scene.mrml, Connection(service), loop, lambda: None)
    began = time.perf_counter()
    running = loop.call(lambda: queries.start(request, ServiceSettings()))
    loop.run()
    times.totals.append(time.perf_counter() - began)
    times.waits.append(loop.longest_s)
    if running.result is None or not running.result.segmentIds:
        raise SystemExit(f"no segment came: {running.failure}")
    return running.result.segmentationNode


def a_volume(scene: Scene, seed: int) -> Any:
    """A bright box of 80 x 200 x 200 voxels."""
    voxels = np.zeros(SHAPE, np.int16)
    noise = np.random.default_rng(seed).integers(500, 900, (80, 200, 200))
    voxels[60:140, 150:350, 150:350] = noise
    return scene.volume(voxels, affine((0.7, 0.7, 2.0)))


def measure(service: FakeLocalService, mode: str, first_seed: int) -> None:
    first, second, surfaces = Times(), Times(), []
    for seed in range(first_seed, first_seed + REPEATS):
        scene = Scene()
        slicer.mrmlScene = scene.mrml
        volume = a_volume(scene, seed)
        node = ask(scene, service, QueryRequest(volume, "What is bright?", mode), first)
        if mode != "slice":
            began = time.perf_counter()
            segments.show_surfaces(node, True)
            surfaces.append(time.perf_counter() - began)
        ask(scene, service, QueryRequest(volume, "And now?", mode), second)
        scene.mrml.Clear(1)
    print(f"{mode}, first answer about a volume: {first}")
    print(f"{mode}, second answer about it: {second}")
    if surfaces:
        made = 1000 * statistics.median(surfaces)
        print(f"{mode}: its surface takes {made:.0f} ms, after the slices were drawn")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        with FakeLocalService(Path(temporary) / "service.log") as local:
            measure(local, "slice", 0)
            measure(local, "slices", REPEATS)
        load = os.getloadavg()[0]
        print(f"medians of {REPEATS}; {os.cpu_count()} cores, with a load of {load:.1f}")
