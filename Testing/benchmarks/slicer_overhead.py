"""What the Slicer module adds to a query: time outside of inference, and how long the window waits.

python Testing/benchmarks/slicer_overhead.py

A 512 x 512 x 200 volume in a real MRML scene. First the answer comes at once from a stand-in: what
is measured is the adapter, the checks and the import. Then it comes from a service process whose
predictor marks what is brighter than the mean: volumes are hashed, sent and answered, while a heart
beats on the main thread every 5 ms. Needs slicer-core (Linux).
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT, ROOT / "Sim4SegSlicer", ROOT / "Testing" / "slicer_module"):
    sys.path.insert(0, str(folder))

import numpy as np  # noqa: E402
from mrml_scene import Scene, affine, document, slicer  # noqa: E402
from services import FakeLocalService  # noqa: E402
from Sim4SegLib.connection import Connection, ServiceSettings  # noqa: E402
from Sim4SegLib.queries import Queries, QueryRequest  # noqa: E402

from Sim4SegCore.service import RemoteAnswer  # noqa: E402

SHAPE = (200, 512, 512)
REPEATS = 5


@dataclasses.dataclass
class Health:
    modes: tuple[str, ...] = ("slice", "slices")


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

    def prepare_volume(self, voxels: Any, geometry: Any, modality: Any, window: Any) -> Any:
        return voxels

    def send(self, image: Any, progress: Any) -> None:
        return None

    def ask(self, image: Any, query: str, options: Any, progress: Any) -> RemoteAnswer:
        shape = image.shape[:3]
        mask = np.zeros(shape, bool)
        mask[:, 100:300, 150:350] = True
        similarity = mask.astype(np.float32) if len(mask) == 1 else None
        return RemoteAnswer(document(query), (mask,), similarity, 0)


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
    if running.result is None or not running.result.segmentIds:
        raise SystemExit(f"no segment came: {running.failure}")
    scene.mrml.Clear(1)
    return total, watch.longest_s


def measure(mode: str) -> None:
    totals, blocked = zip(*(once(mode) for _ in range(REPEATS)), strict=True)
    print(
        f"{mode:>7}: {statistics.median(totals) * 1000:.0f} ms from Apply to the segments, the "
        f"window waits {statistics.median(blocked) * 1000:.0f} ms at most (medians of {REPEATS})"
    )


def longest_silence(scene: Scene, service: FakeLocalService, seed: int) -> float:
    """Seconds between two beats of the main thread, while a new volume is asked about."""
    voxels = np.zeros(SHAPE, np.int16)
    noise = np.random.default_rng(seed).integers(500, 900, (80, 200, 200))
    voxels[60:140, 150:350, 150:350] = noise
    request = QueryRequest(scene.volume(voxels, affine((0.7, 0.7, 2.0))), "Bright?", "slices")
    queries = Queries(lambda: scene.mrml, Connection(service), Blocked(), lambda: None)
    running = queries.start(request, ServiceSettings())
    last, longest = time.perf_counter(), 0.0
    while not running.is_over:
        running.poll(0.005)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    if running.result is None or not running.result.segmentIds:
        raise SystemExit(f"no segment came: {running.failure}")
    return longest


def measure_with_a_service(folder: Path) -> None:
    scene = Scene()
    slicer.mrmlScene = scene.mrml
    with FakeLocalService(folder / "service.log") as service:
        silences = [longest_silence(scene, service, seed) for seed in range(REPEATS)]
    print(
        f"service: the main thread is silent for {statistics.median(silences) * 1000:.0f} ms at "
        f"most (median of {REPEATS}; longest {max(silences) * 1000:.0f} ms)"
    )


if __name__ == "__main__":
    measure("slice")
    measure("slices")
    with tempfile.TemporaryDirectory() as temporary:
        measure_with_a_service(Path(temporary))
