"""What queries of several clients about one cached image would gain from sharing forward passes.

    python Testing/benchmarks/query_batching.py [--device cpu] [--repeats 20]

Runs the network's parts of a query for 1, 2, 4 and 8 queries in one call, turn by turn, and prints
their time for each query against that of a query by itself; then what a whole query would still
take at best, if all of its answer and mask shrank like that. The true gain is smaller: queries of
unequal length are padded, they wait for each other, and pictures and reports are not batched.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import time
from collections.abc import Callable

import torch

from Sim4SegCore import Case, Sim4Seg
from Sim4SegCore.encoded import EncodedImage
from Sim4SegCore.examples import draw_phantom
from Sim4SegCore.modeling.answer import OPENING
from Sim4SegCore.modeling.image_embedding import ImageEmbedding
from Sim4SegCore.modeling.sampling import CHUNK, Branches
from Sim4SegCore.modeling.sim4seg import FramePair

QUERY = "Is there a skin lesion? Segment it and tell me what it is."
BATCHES = (1, 2, 4, 8)


class Parts:
    """What the network does for a query about an encoded image, for several queries in one call."""

    def __init__(self, predictor: Sim4Seg, image: EncodedImage) -> None:
        self._model, self._image = predictor.model, image
        lvlm = self._lvlm = predictor.model.lvlm
        self._ids = lvlm.query_ids(QUERY) + lvlm.encode(OPENING)
        self._read_cache = copy.deepcopy(image.prefix_cache)
        tokens = torch.tensor([self._ids], device=predictor.model.device)
        states, _ = lvlm.hidden_states(tokens, cache=self._read_cache, use_cache=True)
        self._seg_state = states[:, -1]

    def reading(self, count: int) -> None:
        """Query and opening, after a copy of the image's cache for each."""
        cache = copy.deepcopy(self._image.prefix_cache)
        if count > 1:
            cache.batch_repeat_interleave(count)
        tokens = torch.tensor([self._ids], device=self._model.device).expand(count, -1)
        self._lvlm.hidden_states(tokens, cache=cache, use_cache=True)

    def words(self, count: int) -> None:
        """Words of the answer: one call that verifies a chunk for each."""
        Branches(self._lvlm, self._read_cache, count).feed([self._ids[:CHUNK]] * count)

    def mask(self, count: int) -> None:
        """One mask in the whole image."""
        image, embedding = self._image, self._image.image_embedding
        pair = FramePair.of(
            [image.lvlm_frame] * count,
            [image.sam_frame] * count,
            image.token_grid,
            self._model.config.segmenter.prompt_size,
        )
        self._model.ground(
            self._seg_state.expand(count, -1),
            image.image_tokens.expand(count),
            ImageEmbedding.stack([embedding] * count),
            pair.to(self._model.device),
        )


def seconds_per_query(part: Callable[[int], None], repeats: int) -> dict[int, float]:
    """Medians by batch, turn by turn, so that the machine's moods meet all."""
    taken: dict[int, list[float]] = {count: [] for count in BATCHES}
    for _ in range(repeats + 1):
        for count in BATCHES:
            started = time.perf_counter()
            part(count)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            taken[count].append((time.perf_counter() - started) / count)
    return {count: statistics.median(times[1:]) for count, times in taken.items()}


@torch.inference_mode()
def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    predictor = Sim4Seg.from_pretrained(device=options.device)
    predictor.segment(Case(draw_phantom()[0]), QUERY)
    image = predictor.encoded
    assert image is not None
    parts = Parts(predictor, image)
    print("| time for each query | " + " | ".join(f"{count} at once" for count in BATCHES) + " |")
    print("|---" * (len(BATCHES) + 1) + "|")
    ratios = {}
    for name in ("reading", "words", "mask"):
        taken = seconds_per_query(getattr(parts, name), options.repeats)
        ratios[name] = {count: taken[count] / taken[1] for count in BATCHES}
        print(f"| {name} | " + " | ".join(f"{ratios[name][count]:.2f}" for count in BATCHES) + " |")
    answers, masks = [], []
    for _ in range(options.repeats):
        timing = predictor.ask(QUERY).timing
        answers.append(timing["answer"])
        masks.append(timing["mask"])
    answer, mask = statistics.median(answers), statistics.median(masks)
    share = answer / (answer + mask)
    best = {
        count: share * min(ratios["reading"][count], ratios["words"][count])
        + (1 - share) * ratios["mask"][count]
        for count in BATCHES
    }
    print("| whole query, at best | " + " | ".join(f"{best[n]:.2f}" for n in BATCHES) + " |")
    print(f"\nthe answer is {share:.0%} of a query; load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
