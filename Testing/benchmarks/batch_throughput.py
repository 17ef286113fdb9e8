"""Images per second of a batch against one call of `segment` and `save` after the other.

    python Testing/benchmarks/batch_throughput.py [--images 24] [--rounds 3]

Both use one loaded model and write the same files; the batch also keeps its manifest on the
disk and makes table and contact sheet. Rounds alternate, so that both meet the same machine.
Prints a table; asserts nothing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image

from Sim4SegCore import Sim4Seg
from Sim4SegCore.batch.finishing import run_part
from Sim4SegCore.batch.layout import Layout, prepare
from Sim4SegCore.batch.queries import NamedQuery, QueryRule
from Sim4SegCore.batch.running import LocalEngine
from Sim4SegCore.batch.studies import find_studies
from Sim4SegCore.examples import draw_phantom

QUERIES = (
    "Is there a skin lesion? Segment it and tell me what it is.",
    "Is there a fracture?",
)


def draw_cohort(folder: Path, images: int) -> None:
    """Drawn lesions of three sizes, as JPEG and PNG."""
    folder.mkdir()
    for seed in range(images):
        scale = (1, 2, 4)[seed % 3]
        picture = Image.fromarray(draw_phantom(seed)[0])
        picture = picture.resize((picture.width * scale, picture.height * scale))
        picture.save(folder / f"{seed:04d}.{'jpg' if seed % 2 else 'png'}")


def one_by_one(predictor: Sim4Seg, folder: Path, out: Path, queries: tuple[str, ...]) -> None:
    """What a short script would do."""
    for path in sorted(folder.iterdir()):
        for number, query in enumerate(queries):
            predictor.segment(path, query).save(out / path.stem / str(number))


def as_batch(predictor: Sim4Seg, folder: Path, out: Path, queries: tuple[str, ...]) -> None:
    """All of `sim4seg batch` but the loading of the model."""
    layout = Layout(out)
    prepare(layout, overwrite=False)
    rules = tuple(QueryRule(NamedQuery.of(query)) for query in queries)
    run_part(
        layout,
        find_studies(folder),
        rules,
        LocalEngine(predictor),
        start_anew=False,
        retry_failed=False,
        say=lambda sentence: None,
    )


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    predictor = Sim4Seg.from_pretrained(device=options.device)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"{torch.get_num_threads()} threads, {os.cpu_count()} cores, load {load:.1f}\n")
    print("| queries per image | one by one images/s | batch images/s | batch / one by one |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        draw_cohort(home / "cohort", options.images)
        predictor.segment(home / "cohort/0000.png", QUERIES[0]).save(home / "warm")
        for queries in (QUERIES[:1], QUERIES):
            single: list[float] = []
            batch: list[float] = []
            for number in range(options.rounds):
                place = home / f"{len(queries)}-{number}"
                for work, times in ((one_by_one, single), (as_batch, batch)):
                    started = time.perf_counter()
                    work(predictor, home / "cohort", place / work.__name__, queries)
                    times.append(time.perf_counter() - started)
            slow, fast = (options.images / statistics.median(times) for times in (single, batch))
            print(f"| {len(queries)} | {slow:.2f} | {fast:.2f} | {fast / slow:.2f} |")


if __name__ == "__main__":
    main()
