"""Time and memory of several answers and masks with the embedded model, against one greedy pass.

    python Testing/benchmarks/scaling_cost.py [--repeats 7]

Baseline `naive`: every combination of an answer and a mask as a query of its own, m x n passes on
the encoded image. The settings take turns within one process, so that other work on the machine
slows all of them alike; CPU seconds are hardly touched by it. "again" is the harshest comparison:
a query that was asked before, whose one greedy answer is verified in a call or two. "first" sets a
new image and asks. Peak memory is that of a process of its own. Asserts nothing.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable

from Sim4SegCore import Sim4Seg
from Sim4SegCore.examples import draw_phantom
from Sim4SegCore.scaling_config import ScalingConfig

QUERY = "Is there a skin lesion? Segment it and tell me what it is."
SINGLE = (1, 1)
SETTINGS = (SINGLE, (1, 2), (1, 4), (2, 2), (4, 1), (4, 4), (8, 8))
MEASURED = ("again, s", "again, CPU s", "first, s", "first, CPU s")


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """By the clock, and of all cores."""
    began, spent = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - spent


def take_turns(repeats: int) -> dict[tuple[int, int], list[float]]:
    """Medians per setting in the order of `MEASURED`."""
    predictor, image = Sim4Seg.from_pretrained(device="cpu"), draw_phantom()[0]
    taken: dict[tuple[int, int], list[tuple[float, ...]]] = defaultdict(list)
    for _ in range(repeats + 1):
        for setting in SETTINGS:
            scaling = ScalingConfig(*setting, stop_early=False)
            first = seconds(lambda scaling=scaling: predictor.segment(image, QUERY, scaling))
            again = seconds(lambda scaling=scaling: predictor.ask(QUERY, scaling))
            taken[setting].append((*again, *first))
    return {
        setting: [statistics.median(column) for column in zip(*rounds[1:], strict=True)]
        for setting, rounds in taken.items()
    }


def naive_passes(repeats: int) -> dict[tuple[int, int], float]:
    """m x n single passes of one encoded image, in single passes by the clock."""
    predictor = Sim4Seg.from_pretrained(device="cpu")
    predictor.set_image(draw_phantom()[0])

    def passes(count: int) -> float:
        return seconds(lambda: [predictor.ask(QUERY, ScalingConfig()) for _ in range(count)])[0]

    passes(1)
    single = statistics.median(passes(1) for _ in range(repeats))
    return {(m, n): passes(m * n) / single for m, n in SETTINGS}


def peak_mib(setting: tuple[int, int]) -> float:
    """Peak memory of an interpreter that answers one query."""
    command = [sys.executable, __file__, "--memory", *map(str, setting)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(printed.splitlines()[-1])


def print_own_peak(setting: tuple[int, int]) -> None:
    """Answer one query and print this process's peak memory in MiB."""
    predictor = Sim4Seg.from_pretrained(device="cpu")
    predictor.segment(draw_phantom()[0], QUERY, ScalingConfig(*setting, stop_early=False))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--memory", nargs=2, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        print_own_peak(tuple(options.memory))
        return
    taken, naive = take_turns(options.repeats), naive_passes(options.repeats)
    single_mib = peak_mib(SINGLE)
    print(f"| answers m | masks n | {' | '.join(MEASURED)} | naive, passes | peak memory |")
    print("|---" * (len(MEASURED) + 4) + "|")
    for setting in SETTINGS:
        cells = [
            f"{value:.3f} ({value / base:.2f} x)"
            for value, base in zip(taken[setting], taken[SINGLE], strict=True)
        ]
        memory = f"{peak_mib(setting) / single_mib:.2f} x"
        print(
            f"| {setting[0]} | {setting[1]} | {' | '.join(cells)} "
            f"| {naive[setting]:.1f} x | {memory} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
