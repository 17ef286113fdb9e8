"""What the service costs against the direct call, in one run with the embedded model on the CPU.

    python Testing/benchmarks/service_overhead.py [--repeats 20] [--clients 8] [--queries 20]

Prints: the second query on a slice of a 512x512x200 volume, direct and through a local service,
and all slices of a smaller volume; how soon a cancelled volume frees the device; the speed of
uploads over loopback; many clients at once on volumes of different sizes, each answer compared with
the direct call's, with the slowest client, the memory of the service, and again while 200
connections say nothing. Both models have one thread, so that the idle ones of one do not slow the
other. Asserts nothing but that answers are right.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np
import psutil
import torch
from PIL import Image

from Sim4SegCore import Case, Geometry, Result, Sim4Seg
from Sim4SegCore.encoded import EncodedImage
from Sim4SegCore.examples import draw_phantom
from Sim4SegCore.service import Client, LocalService, Options
from Sim4SegCore.service.client import ClientProgress
from Sim4SegCore.volume import SliceOptions, VolumeCase, VolumeResult

QUERIES = (
    "Is there a skin lesion? Segment it and tell me what it is.",
    "Segment the skin lesion.",
    "Is there a fracture?",
    "What do you see?",
)
SLICES = Options(mode="slices", key_slices=1)
MIB = 1 << 20


def volume(seed: int, side: int, count: int) -> VolumeCase:
    """A drawn lesion that wanders through slices of int16."""
    grey = Image.fromarray(draw_phantom(seed)[0]).convert("L").resize((side, side))
    plane = np.asarray(grey, np.int16)
    voxels = np.stack([np.roll(plane, number, 0) for number in range(count)])
    cosines = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    return VolumeCase(voxels, Geometry((0.7, 0.7, 2.0), (0.0, 0.0, 0.0), cosines), modality="MR")


def slice_of(scan: VolumeCase, index: int) -> Case:
    """As the service looks at it."""
    x, y, z = scan.geometry.origin
    place = Geometry(
        scan.geometry.spacing,
        (x, y, z + index * scan.geometry.spacing[2]),
        scan.geometry.direction,
    )
    return Case(scan.voxels[index], place, modality=scan.modality)


def compare(name: str, direct: Callable[[], object], remote: Callable[[], object], n: int) -> None:
    """One row for each way; turn by turn, so that the machine's moods meet both."""
    here: list[float] = []
    there: list[float] = []
    for _ in range(n):
        for work, taken in ((direct, here), (remote, there)):
            started = time.perf_counter()
            work()
            taken.append(time.perf_counter() - started)
    ours, theirs = statistics.median(here), statistics.median(there)
    print(f"| {name}, direct | {ours * 1e3:.1f} | 1 | |")
    print(
        f"| {name}, service | {theirs * 1e3:.1f} | {theirs / ours:.2f} "
        f"| {1e3 * (theirs - ours):.1f} |",
        flush=True,
    )


def overhead(direct: Sim4Seg, client: Client, repeats: int) -> None:
    """What is asked again about a cached slice, and all slices of a volume."""
    print("| query | median ms | ratio | overhead ms |\n|---|---|---|---|")
    large, small = volume(0, 512, 200), volume(1, 256, 24)
    image, other = client.prepare(large), client.prepare(small)
    case, options = slice_of(large, 100), Options(slice=100)
    direct.segment(case, QUERIES[0])
    client.ask(image, QUERIES[0], options)
    compare(
        "second query on a slice of 512x512x200",
        lambda: direct.ask(QUERIES[0]),
        lambda: client.ask(image, QUERIES[0], options),
        repeats,
    )
    client.send(other)
    compare(
        "all slices of 256x256x24",
        lambda: direct.segment_volume(small, QUERIES[0]),
        lambda: client.ask(other, QUERIES[0], Options(mode="slices")),
        max(1, repeats // 7),
    )
    print()


class EnoughError(Exception):
    """Ends a query from its progress callback."""


def cancelling(client: Client, repeats: int) -> None:
    """Seconds from cancelling a volume, at many moments, until its device is free."""
    scan = volume(2, 512, 40)
    image = client.prepare(scan)
    client.send(image)
    waits = []
    for number in range(repeats):
        until = 0.02 + 0.78 * number / repeats

        def stop(step: ClientProgress, until: float = until) -> None:
            if step.stage in ("mask", "answer") and step.fraction >= until:
                raise EnoughError

        with contextlib.suppress(EnoughError):
            client.ask(image, QUERIES[0], Options(mode="slices"), stop)
            print("not cancelled in time")
        cancelled = time.perf_counter()
        while [device["state"] for device in client.health().devices] != ["ready"]:  # type: ignore[index]
            time.sleep(0.01)
        waits.append(time.perf_counter() - cancelled)
    print(
        f"a cancelled volume of 512x512x40 frees the device after {statistics.median(waits):.2f} s "
        f"(longest of {repeats}: {max(waits):.2f} s)\n",
        flush=True,
    )


def upload_speed(client: Client, repeats: int) -> None:
    """Volumes of noise, hashed before, sent for the first time; hashing is shown beside it."""
    rng = np.random.default_rng(0)
    print("| upload | MB | MB/s | MB/s with hashing |\n|---|---|---|---|")
    for name, shape in (("one piece", (30, 512, 512)), ("in parts", (250, 512, 512))):
        sending, all_in = [], []
        for _ in range(repeats):
            voxels = rng.integers(0, 4000, shape, dtype=np.int16)
            started = time.perf_counter()
            prepared = client.prepare_volume(voxels)
            hashed = time.perf_counter()
            client.send(prepared)
            ended = time.perf_counter()
            sending.append(voxels.nbytes / 1e6 / (ended - hashed))
            all_in.append(voxels.nbytes / 1e6 / (ended - started))
        size = np.prod(shape) * 2 / 1e6
        print(
            f"| {name} | {size:.0f} | {statistics.median(sending):.0f} "
            f"| {statistics.median(all_in):.0f} |"
        )


def question(turn: int, slices: int) -> tuple[str, Options]:
    """Every tenth is about the whole volume, the others about four slices of it."""
    if turn % 10 == 9:
        return QUERIES[0], SLICES
    place = turn % len(QUERIES)
    return QUERIES[place], Options(slice=place * slices // len(QUERIES))


def asked_directly(direct: Sim4Seg, scan: VolumeCase, turns: int) -> list[Result | VolumeResult]:
    """Without the service; each slice is encoded once, as there."""
    encoded: dict[int, EncodedImage | None] = {}
    results: list[Result | VolumeResult] = []
    for turn in range(turns):
        query, options = question(turn, len(scan.voxels))
        index = options.slice
        if index is None:
            results.append(direct.segment_volume(scan, query, slice_options()))
            continue
        if index not in encoded:
            direct.set_image(slice_of(scan, index))
            encoded[index] = direct.encoded
        direct.encoded = encoded[index]
        results.append(direct.ask(query))
    return results


def slice_options() -> SliceOptions:
    """Those of SLICES."""
    return SliceOptions(key_slices=SLICES.key_slices or 1)


@dataclass
class Crowd:
    """Clients that ask at the same time, each about its own volume."""

    service: LocalService
    scans: list[VolumeCase]
    expected: list[list[Result | VolumeResult]]
    seconds: dict[int, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Every client in a thread of its own."""
        self.seconds.clear()
        threads = [
            threading.Thread(target=self._ask, args=(number,)) for number in range(len(self.scans))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _ask(self, number: int) -> None:
        started = time.perf_counter()
        scan = self.scans[number]
        with self.service.client() as client:
            prepared = client.prepare(scan)
            for turn, expected in enumerate(self.expected[number]):
                answer = client.ask(prepared, *question(turn, len(scan.voxels)))
                same_mask = np.array_equal(answer.masks[0].squeeze(), expected.mask.squeeze())
                same_words = answer.document["reasoning"] == expected.reasoning
                if not (same_mask and same_words):
                    self.wrong.append(f"client {number}, query {turn}")
        self.seconds[number] = time.perf_counter() - started

    def row(self, name: str, direct_s: float) -> str:
        """One line of the table."""
        times = sorted(self.seconds.values())
        slowest, median = times[-1], statistics.median(times)
        answered = sum(len(self.expected[number]) for number in self.seconds)
        rss = psutil.Process(self.service.pid).memory_info().rss / MIB
        return (
            f"| {name} | {answered} | {len(self.wrong)} | {slowest:.1f} | {slowest / median:.2f} "
            f"| {slowest / direct_s:.2f} | {rss:.0f} |"
        )


def many_clients(direct: Sim4Seg, service: LocalService, clients: int, queries: int) -> None:
    """The same questions one after the other in this process, then from many clients at once."""
    scans = [volume(number, 128 + 48 * number, 6 + 2 * number) for number in range(clients)]
    started = time.perf_counter()
    expected = [asked_directly(direct, scan, queries) for scan in scans]
    direct_s = time.perf_counter() - started
    crowd = Crowd(service, scans, expected)
    print(f"\ndirect calls, one after the other: {direct_s:.1f} s for {clients * queries}\n")
    print("| round | answered | wrong | s | slowest / median client | / direct | service MiB |")
    print("|---|---|---|---|---|---|---|")
    for number in range(3):
        crowd.run()
        print(crowd.row(f"{number + 1}", direct_s), flush=True)
    address = urlsplit(service.endpoint()[0])
    silent = [socket.create_connection((address.hostname, address.port)) for _ in range(200)]
    crowd.run()
    print(crowd.row("with 200 silent connections", direct_s))
    for connection in silent:
        connection.close()
    assert not crowd.wrong, crowd.wrong


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--queries", type=int, default=20)
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    torch.set_num_threads(1)
    direct = Sim4Seg.from_pretrained(device="cpu")
    with (
        LocalService(
            arguments=["--device", "cpu"], environment={"OMP_NUM_THREADS": "1"}
        ) as service,
        service.client() as client,
    ):
        overhead(direct, client, options.repeats)
        cancelling(client, 5)
        upload_speed(client, 3)
        many_clients(direct, service, options.clients, options.queries)
    print(f"\nload {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
