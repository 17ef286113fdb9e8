"""Time and memory of several answers and masks with the embedded model, against one greedy pass.

    python Testing/benchmarks/scaling_cost.py [--repeats 5]

Baseline `naive`: every combination of an answer and a mask as a query of its own, m x n passes on
the encoded image. Each setting runs in a process of its own, so that its peak memory is its own.
Prints seconds and ratios; asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

from Sim4SegCore import Sim4Seg
from Sim4SegCore.examples import draw_phantom
from Sim4SegCore.scaling_config import ScalingConfig

QUERY = "Is there a skin lesion? Segment it and tell me what it is."
SETTINGS = ((1, 1), (1, 2), (1, 4), (2, 2), (4, 1), (4, 4), (8, 8))


def measure(samples: int, masks: int, passes: int, repeats: int) -> dict[str, float]:
    """Median seconds of a query on an encoded image, and peak memory of this process in MiB."""
    predictor = Sim4Seg.from_pretrained(device="cpu")
    predictor.set_image(draw_phantom()[0])
    scaling = ScalingConfig(samples, masks, stop_early=False)
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        for _ in range(passes):
            predictor.ask(QUERY, scaling)
        seconds.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": statistics.median(seconds[1:]), "peak_mib": peak}


def in_own_process(samples: int, masks: int, passes: int, repeats: int) -> dict[str, float]:
    """`measure` in a fresh interpreter."""
    command = [sys.executable, __file__, "--measure", *map(str, (samples, masks, passes, repeats))]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    measured: dict[str, float] = json.loads(output.splitlines()[-1])
    return measured


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--measure", nargs=4, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.measure)))
        return
    single = in_own_process(1, 1, 1, options.repeats)
    print("| answers m | masks n | s | of one greedy pass | naive, of one pass | peak memory |")
    print("|---|---|---|---|---|---|")
    for samples, masks in SETTINGS:
        ours = in_own_process(samples, masks, 1, options.repeats)
        naive = in_own_process(1, 1, samples * masks, 1)
        print(
            f"| {samples} | {masks} | {ours['seconds']:.3f} "
            f"| {ours['seconds'] / single['seconds']:.2f} "
            f"| {naive['seconds'] / single['seconds']:.1f} "
            f"| {ours['peak_mib'] / single['peak_mib']:.2f} x |",
            flush=True,
        )


if __name__ == "__main__":
    main()
