"""What the service costs against the direct call, in one run with the embedded model on the CPU.

    python Testing/benchmarks/service_overhead.py [--repeats 20] [--clients 8] [--queries 20]

Prints: the second query on a cached image, direct and through a local service; the speed of
uploads over loopback; many clients at once on images of different sizes, each answer compared
with the direct call's, with the slowest client, the memory of the service before and after, and
again while 200 connections say nothing. Asserts nothing but that answers are right.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np
import psutil
from PIL import Image

from Sim4SegCore import Case, Result, Sim4Seg
from Sim4SegCore.examples import draw_phantom
from Sim4SegCore.service import Client, LocalService

QUERIES = (
    "Is there a skin lesion? Segment it and tell me what it is.",
    "Segment the skin lesion.",
    "Is there a fracture?",
    "What do you see?",
)
MIB = 1 << 20


def images(count: int) -> list[Case]:
    """Drawn lesions from 200 to 1000 pixels wide."""
    cases = []
    for number in range(count):
        width = 200 + 800 * number // max(1, count - 1)
        picture = Image.fromarray(draw_phantom(number)[0]).resize((width, width * 3 // 4))
        cases.append(Case(np.asarray(picture)))
    return cases


def compare_second_query(direct: Sim4Seg, client: Client, repeats: int) -> None:
    """Turn by turn, so that the machine's moods meet both."""
    case = images(8)[3]
    prepared = client.prepare(case)
    direct.segment(case, QUERIES[0])
    client.ask(prepared, QUERIES[0])
    here, there = [], []
    for _ in range(repeats):
        started = time.perf_counter()
        direct.ask(QUERIES[0])
        here.append(time.perf_counter() - started)
        started = time.perf_counter()
        client.ask(prepared, QUERIES[0])
        there.append(time.perf_counter() - started)
    ours, theirs = statistics.median(here), statistics.median(there)
    print("| second query, cached image | median ms | ratio |\n|---|---|---|")
    print(f"| direct call | {ours * 1e3:.1f} | 1 |")
    print(f"| through the service | {theirs * 1e3:.1f} | {theirs / ours:.2f} |")
    print(f"\noverhead {1e3 * (theirs - ours):.1f} ms\n")


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


@dataclass
class Crowd:
    """Clients that ask at the same time."""

    service: LocalService
    cases: list[Case]
    expected: list[list[Result]]
    queries: int
    seconds: dict[int, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Every client in a thread of its own."""
        self.seconds.clear()
        threads = [
            threading.Thread(target=self._ask, args=(number,)) for number in range(len(self.cases))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _ask(self, number: int) -> None:
        started = time.perf_counter()
        with self.service.client() as client:
            prepared = client.prepare(self.cases[number])
            for turn in range(self.queries):
                which = turn % len(QUERIES)
                answer = client.ask(prepared, QUERIES[which])
                expected = self.expected[number][which]
                same_mask = np.array_equal(answer.masks[0][0], expected.mask)
                same_words = answer.document["reasoning"] == expected.reasoning
                if not (same_mask and same_words):
                    self.wrong.append(f"client {number}, query {which}")
        self.seconds[number] = time.perf_counter() - started

    def row(self, name: str, direct_s: float) -> str:
        """One line of the table."""
        times = sorted(self.seconds.values())
        slowest, median = times[-1], statistics.median(times)
        answered = len(times) * self.queries
        rss = psutil.Process(self.service.pid).memory_info().rss / MIB
        return (
            f"| {name} | {answered} | {len(self.wrong)} | {slowest:.1f} | {slowest / median:.2f} "
            f"| {slowest / direct_s:.2f} | {rss:.0f} |"
        )


def many_clients(direct: Sim4Seg, service: LocalService, clients: int, queries: int) -> None:
    """The same questions one after the other in this process, then from many clients at once."""
    cases = images(clients)
    expected = []
    started = time.perf_counter()
    for case in cases:
        direct.set_image(case)
        answers = [direct.ask(QUERIES[turn % len(QUERIES)]) for turn in range(queries)]
        expected.append(answers[: len(QUERIES)])
    direct_s = time.perf_counter() - started
    crowd = Crowd(service, cases, expected, queries)
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
    direct = Sim4Seg.from_pretrained(device="cpu")
    with LocalService(arguments=["--device", "cpu"]) as service, service.client() as client:
        compare_second_query(direct, client, options.repeats)
        upload_speed(client, 3)
        many_clients(direct, service, options.clients, options.queries)
    print(f"\nload {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
