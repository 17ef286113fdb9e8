"""What the Slicer module adds to a query: time outside of inference, and how long the window waits.

python Testing/benchmarks/slicer_overhead.py

A 512 x 512 x 200 volume in a real MRML scene; the answer comes at once from a stand-in, so that
what is measured is the adapter, the checks and the import. Needs slicer-core (Linux).
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT, ROOT / "Sim4SegSlicer", ROOT / "Testing" / "slicer_module"):
    sys.path.insert(0, str(folder))

import numpy as np  # noqa: E402
from mrml_scene import Scene, affine, document, slicer  # noqa: E402
from Sim4SegLib.connection import Connection, ServiceSettings  # noqa: E402
from Sim4SegLib.queries import Queries, QueryRequest  # noqa: E402

from Sim4SegCore.service.client import RemoteAnswer  # noqa: E402

SHAPE = (200, 512, 512)
REPEATS = 5


@dataclasses.dataclass
class Health:
    modes: tuple[str, ...] = ("slice", "volume")


class AnswersAtOnce(Connection):
    """A connection, and its client, without a service behind it."""

    def client(self, settings: ServiceSettings) -> Any:
        return self

    def __enter__(self) -> AnswersAtOnce:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def health(self) -> Health:
        return Health()

    def prepare_volume(self, voxels: Any, geometry: Any, window: Any = None) -> Any:
        return voxels

    def send(self, image: Any, progress: Any) -> None:
        return None

    def ask(self, image: Any, query: str, options: Any, progress: Any) -> RemoteAnswer:
        shape = image.shape[:3]
        mask = np.zeros(shape, bool)
        mask[:, 100:300, 150:350] = True
        return RemoteAnswer(document(query), (mask,), mask.astype(np.float32), 0)


class Blocked:
    """Remembers the longest call on the main thread."""

    def __init__(self) -> None:
        self.longest_s = 0.0

    def during(self, call: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = call()
        self.longest_s = max(self.longest_s, time.perf_counter() - began)
        return result

    def start(self, callback: Callable[[], None], interval_ms: int) -> None:
        """The query is led by `main`."""

    def stop(self) -> None:
        """There is no timer to stop."""


def once(mode: str) -> tuple[float, float]:
    """Seconds from Apply to the segments, and of the longest call on the main thread."""
    scene = Scene()
    slicer.mrmlScene = scene.mrml
    voxels = np.random.default_rng(0).integers(-1000, 1000, SHAPE, dtype=np.int16)
    request = QueryRequest(scene.volume(voxels, affine((0.7, 0.7, 2.0))), "Is there a mass?", mode)
    watch = Blocked()
    queries = Queries(lambda: scene.mrml, AnswersAtOnce(), watch, lambda: None)
    began = time.perf_counter()
    running = watch.during(lambda: queries.start(request, ServiceSettings()))
    while not running.is_over:
        watch.during(lambda: running.poll(0.001))
    total = time.perf_counter() - began
    scene.mrml.Clear(1)
    return total, watch.longest_s


def measure(mode: str) -> None:
    totals, blocked = zip(*(once(mode) for _ in range(REPEATS)), strict=True)
    print(
        f"{mode:>7}: {statistics.median(totals) * 1000:.0f} ms from Apply to the segments, the "
        f"window waits {statistics.median(blocked) * 1000:.0f} ms at most (medians of {REPEATS})"
    )


if __name__ == "__main__":
    measure("slice")
    measure("volume")
