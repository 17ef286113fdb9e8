"""Studies per minute of `sim4seg batch` on this machine alone and on a local Ray cluster.

    python Testing/benchmarks/ray_scaling.py [--images 120] [--workers 1 2]

Each run is the whole command in a process of its own, with one thread for each model: with and
without Ray, and with each number of workers. Beside the time of the command stands the time of the
last two thirds of the answers, which leaves out how long Python, Ray and the models take to start.
Reading and writing go on beside a worker, on cores that it leaves free; so there is a run of one
worker that all shares one core, too: what more cores are worth. The tables of results must be the
same. Prints a table; asserts nothing else. Takes some minutes on two cores that do nothing else;
cores in use show as missing speed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from batch_throughput import QUERIES, draw_cohort

POLL_S = 0.01


@dataclass(frozen=True)
class Measured:
    """One run; seconds of the command, and of the last two thirds of its answers."""

    name: str
    seconds: float
    answering_s: float
    table: bytes


def measure(
    name: str, cohort: Path, out: Path, options: list[str], cores: set[int] | None = None
) -> Measured:
    """Run a batch, on some of the cores, and watch its manifest grow."""
    command = [sys.executable, "-m", "Sim4SegCore.cli", "batch", str(cohort), "-o", str(out)]
    command += ["--query", QUERIES[0], "--device", "cpu", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    manifest = out / "manifest.jsonl"
    cores = cores or os.sched_getaffinity(0)
    warm = len(list(cohort.iterdir())) // 3
    started = time.perf_counter()
    first = 0.0
    print(f"{name} …", file=sys.stderr, flush=True)
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=said,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        ) as process,
    ):
        while process.poll() is None:
            if not first and manifest.exists() and manifest.read_bytes().count(b"\n") >= warm:
                first = time.perf_counter()
            time.sleep(POLL_S)
        if process.returncode:
            said.seek(0)
            last_words = said.read().strip().splitlines()[-1:]
            raise SystemExit(f"{name}: ended with {process.returncode} {' '.join(last_words)}")
    last = time.perf_counter() - (time.time() - manifest.stat().st_mtime)
    table = (out / "results.csv").read_bytes()
    return Measured(name, time.perf_counter() - started, last - first, table)


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=120)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {options.images} images\n")
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        draw_cohort(home / "cohort", options.images)
        cohort = home / "cohort"
        runs = [measure("without Ray", cohort, home / "alone", [])]
        one = ["--ray", "local", "--workers", "1"]
        core = {min(os.sched_getaffinity(0))}
        runs.append(measure("Ray, one worker on one core", cohort, home / "core", one, core))
        for workers in options.workers:
            given = ["--ray", "local", "--workers", str(workers)]
            runs.append(measure(f"Ray, workers: {workers}", cohort, home / str(workers), given))
    print("| run | command s | answering s | images/s | × one core | × one worker | same table |")
    print("|---|---|---|---|---|---|---|")
    counted = options.images - options.images // 3
    for run in runs:
        ratios = [baseline.answering_s / run.answering_s for baseline in runs[1:3]]
        print(
            f"| {run.name} | {run.seconds:.1f} | {run.answering_s:.1f} "
            f"| {counted / run.answering_s:.2f} | {ratios[0]:.2f} | {ratios[1]:.2f} "
            f"| {'yes' if run.table == runs[0].table else 'no'} |"
        )
    print(f"\nload {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
