"""Time and memory of queries with the embedded model, against named baselines in one run.

    python Testing/benchmarks/query_speed.py [--repeats 5]

Baseline `naive`: the same parts called without any cache, as a straightforward script would:
every query encodes the image again, and every token runs the whole sequence through the LVLM.
Prints seconds and ratios; asserts nothing.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from Sim4SegCore import Sim4Seg
from Sim4SegCore.examples import draw_phantom, write_retina
from Sim4SegCore.frame import Frame
from Sim4SegCore.io import read_case
from Sim4SegCore.modeling.generation import AnswerDecoder
from Sim4SegCore.modeling.sim4seg import FramePair, Sim4SegModel

RETINA_QUERY = "Segment the retinal vessels. Does the eye look healthy?"
LESION_QUERY = "Is there a skin lesion? Segment it and tell me what it is."


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    """Median wall time after one warm-up."""
    work()
    samples = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        samples.append(time.perf_counter() - started)
    return statistics.median(samples)


@torch.inference_mode()
def answer_tokens(model: Sim4SegModel, pixels: Tensor) -> tuple[list[int], int]:
    """Tokens of query and answer, and the place of [SEG] among them."""
    frame = Frame.longest_side((pixels.shape[1], pixels.shape[2]), model.config.lvlm.image_size)
    vision = model.lvlm.see(frame.apply(pixels)[None])
    prefix = torch.tensor([model.lvlm.prefix_ids(vision)])
    _, cache = model.lvlm.hidden_states(prefix, vision, use_cache=True)
    decoder = AnswerDecoder(model.lvlm, model.config.diagnoses)
    text_ids = decoder.complete(decoder.open(LESION_QUERY, cache)).text_ids
    return text_ids, text_ids.index(decoder.seg_id)


@torch.inference_mode()
def naive_answer(model: Sim4SegModel, pixels: Tensor, answer_ids: list[int], seg: int) -> Tensor:
    """The same answer token by token without a key-value cache, then one mask."""
    frame = Frame.longest_side((pixels.shape[1], pixels.shape[2]), model.config.lvlm.image_size)
    images = frame.apply(pixels)[None]
    sam = Frame.longest_side((pixels.shape[1], pixels.shape[2]), model.config.segmenter.image_size)
    pair = FramePair.of([frame], [sam], 16, model.config.segmenter.prompt_size)
    first_free = seg + 2
    for end in range(first_free, len(answer_ids) + 1):
        vision = model.lvlm.see(images)
        ids = torch.tensor([model.lvlm.prefix_ids(vision) + answer_ids[:end]])
        states, _ = model.lvlm.hidden_states(ids, vision)
        model.lvlm.logits(states[:, -1])
    sam_images = sam.apply(pixels)[None]
    forced = model(images, sam_images, None, torch.tensor([answer_ids]), torch.tensor([seg]), pair)
    return forced.grounding.mask_logits


def compare_queries(predictor: Sim4Seg, repeats: int) -> None:
    """First query, second query on the same image, and the naive baseline."""
    with tempfile.TemporaryDirectory() as folder:
        retina = read_case(write_retina(Path(folder)))
    print("| image | first query s | second query s | second / first |")
    print("|---|---|---|---|")
    for name, image, query in (
        ("retina 1411x1411, tiled", retina, RETINA_QUERY),
        ("phantom 400x300", draw_phantom()[0], LESION_QUERY),
    ):
        first = median_seconds(lambda i=image, q=query: predictor.segment(i, q), repeats)  # type: ignore[misc]
        predictor.set_image(image)
        second = median_seconds(lambda q=query: predictor.ask(q), repeats)  # type: ignore[misc]
        print(f"| {name} | {first:.3f} | {second:.3f} | {second / first:.2f} |")


def compare_with_naive(predictor: Sim4Seg, repeats: int) -> None:
    """Our predictor against the parts without caches, for one first query."""
    image = draw_phantom()[0]
    pixels = torch.from_numpy(image).permute(2, 0, 1)
    answer_ids, seg = answer_tokens(predictor.model, pixels)
    naive = median_seconds(
        lambda: naive_answer(predictor.model, pixels, answer_ids, seg), max(1, repeats // 3)
    )
    ours = median_seconds(lambda: predictor.segment(image, LESION_QUERY), repeats)
    print(f"\nfirst query, phantom: ours {ours:.3f} s, naive {naive:.3f} s: {naive / ours:.1f} x")


def command_line(repeats: int) -> None:
    """From start to exit, and to the first line of output, in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        image = write_retina(Path(folder))
        command = [sys.executable, "-m", "Sim4SegCore.cli", "segment", str(image), RETINA_QUERY]
        first_line, total = [], []
        for attempt in range(repeats):
            started = time.perf_counter()
            with subprocess.Popen(
                [*command, "-o", f"{folder}/{attempt}"],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            ) as process:
                assert process.stdout is not None
                process.stdout.readline()
                first_line.append(time.perf_counter() - started)
                process.wait()
                total.append(time.perf_counter() - started)
    print(
        f"\ncommand line on retina: result after {statistics.median(first_line):.1f} s, "
        f"exit after {statistics.median(total):.1f} s"
    )
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2
    print(f"peak memory of that process: {peak:.2f} GiB")


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}\n")
    predictor = Sim4Seg.from_pretrained(device="cpu")
    compare_queries(predictor, repeats)
    compare_with_naive(predictor, repeats)
    command_line(min(repeats, 3))


if __name__ == "__main__":
    main()
