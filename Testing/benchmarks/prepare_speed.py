"""Seconds to prepare made-up images, one process against several, in the same run.

    python Testing/benchmarks/prepare_speed.py [--images 4000] [--workers 2] [--side 600]

Draws a Kvasir-like download (JPEG images, PNG masks), builds it in parallel with everything that a
real build does (checks, near-duplicates, statistics, contact sheet), then a part of it with one
process. Prints wall and processor seconds and the ratio; asserts nothing.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from training.m3ds.build import build
from training.m3ds.config import PrepareConfig, SetConfig


def draw_download(folder: Path, images: int, side: int) -> None:
    """Random smooth pictures, each with an ellipse and its mask."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for n in range(images):
        coarse = Image.fromarray(rng.integers(0, 256, (16, 20, 3), np.uint8))
        image = coarse.resize((side, side * 4 // 5), Image.Resampling.BICUBIC)
        mask = Image.new("L", image.size)
        left, top = (int(v) for v in rng.integers(0, side // 2, 2))
        ellipse = (left, top, left + side // 4, top + side // 4)
        ImageDraw.Draw(mask).ellipse(ellipse, fill=255)
        image.paste((200, 90, 80), mask=mask)
        image.save(folder / "images" / f"{n:05d}.jpg", quality=90)
        mask.save(folder / "masks" / f"{n:05d}.png")


def processor_seconds() -> float:
    """User and system time of this process and its finished children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def timed_build(downloads: Path, output: Path, name: str, workers: int) -> tuple[float, float]:
    """Wall and processor seconds of a build."""
    config = PrepareConfig(
        downloads=str(downloads),
        output=str(output),
        longest_side=512,
        workers=workers,
        sets={name: SetConfig(kind="Kvasir-SEG")},
    )
    started, used = time.perf_counter(), processor_seconds()
    build(config)
    return time.perf_counter() - started, processor_seconds() - used


def main() -> None:
    """Draw, build twice, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--side", type=int, default=600, help="width of the drawn images")
    parser.add_argument(
        "--baseline", type=int, default=0, help="images for one process (default: all)"
    )
    options = parser.parse_args()
    fewer = min(options.baseline or options.images, options.images)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        draw_download(root / "all", options.images, options.side)
        draw_download(root / "part", fewer, options.side)
        wall, used = timed_build(root, root / "a", "all", options.workers)
        alone_wall, alone_used = timed_build(root, root / "b", "part", 1)
    print(f"\n| images | processes | wall s | processor s | images per s |\n{'|---' * 5}|")
    for images, workers, seconds, busy in (
        (options.images, options.workers, wall, used),
        (fewer, 1, alone_wall, alone_used),
    ):
        rate = images / seconds
        print(f"| {images} | {workers} | {seconds:.1f} | {busy:.1f} | {rate:.1f} |")
    ratio = (alone_wall / fewer) / (wall / options.images)
    print(f"\n{options.workers} processes are {ratio:.2f} times as fast as one")


if __name__ == "__main__":
    main()
