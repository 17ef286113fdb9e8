"""The reader that leads from a checkpoint's [SEG] states to the queries that the network learned.

Every target has a query of its own, and one stands for everything else. Slices of training
volumes, and pictures of other things, are shown to the language model with queries in many words;
the reader learns to find the query of what was asked for, whatever the
picture shows. Words, phrasings and volumes that were kept out say how well it does.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.modeling.query_reader import QueryReader
from Sim4SegCore.modeling.sim4seg import Sim4SegModel
from Sim4SegCore.modeling.volumetric import VolumetricNetwork

from ..records import data_folder, read_records
from .config import VolumetricTrainingConfig
from .seg_states import (
    TEMPLATES,
    draw_queries,
    seg_states,
    stored_pictures,
    volume_pictures,
    words_asked,
)

_Thing = TypeVar("_Thing")

SHARPNESS = 10.0
"""Cosines times this are the logits of which query is meant."""
KEPT_OUT = 6
"""Every so-many-th word, phrasing and volume is kept out of the fit that is judged."""
LEFT_OUT = 0.05
"""Probability that a word is left out of a query."""


@dataclass(frozen=True)
class States:
    """[SEG] states and what was asked.

    Attributes:
        seg: (N, D).
        words: float16 (N, T, D), see `QueryReader`.
        asked: int64 (N,), a target, or the number of targets for anything else.
    """

    seg: Tensor
    words: Tensor
    asked: Tensor

    def joined(self, other: States) -> States:
        """Both together."""
        return States(
            torch.cat([self.seg, other.seg]),
            torch.cat([self.words, other.words]),
            torch.cat([self.asked, other.asked]),
        )


@dataclass(frozen=True)
class AlignmentReport:
    """How often the nearest query is the right one, on what was kept out of the fit.

    Attributes:
        found: of queries for a target, any target is meant.
        exact: of them, the very one.
        refused: of queries for something else, no target is meant.
    """

    found: float
    exact: float
    refused: float
    queries: int


def align(
    network: VolumetricNetwork, model: Sim4SegModel, config: VolumetricTrainingConfig
) -> AlignmentReport:
    """Fit `network.reader` to a checkpoint's [SEG] states.

    Raises:
        Sim4SegError: if the data cannot be read.
    """
    fitted, kept_out = collect_states(model, config)
    fit(network, fitted, config)
    report = judge(network, kept_out)
    fit(network, fitted.joined(kept_out), config)
    return report


def collect_states(model: Sim4SegModel, config: VolumetricTrainingConfig) -> tuple[States, States]:
    """States to fit with, and those with words, phrasings and volumes that were kept out."""
    rng = random.Random(config.seed)
    folder, settings = data_folder(config.data), config.alignment
    volumes = sorted((folder.parent / config.volumes / "images").glob("*"))
    if len(volumes) < 2:
        raise Sim4SegError(f"{folder.parent / config.volumes} needs at least two volumes")
    own, others = words_asked(list(config.targets.values()))
    rng.shuffle(others)
    side = model.config.lvlm.image_size
    parts = []
    for is_kept_out in (False, True):
        count = max(2, settings.slices // (KEPT_OUT if is_kept_out else 1))
        pictures = volume_pictures(rng.choices(_split(volumes, is_kept_out), k=count), side, rng)
        if not is_kept_out:
            pictures += stored_pictures(_strangers(config, count // 3, rng), side)
        others_asked, phrases = _split(others, is_kept_out), _split(TEMPLATES, is_kept_out)
        seg, words, asked = [], [], []
        for picture in pictures:
            queries = draw_queries(own, others_asked, phrases, rng)
            states, embedded = seg_states(model.lvlm, picture, [query for query, _ in queries])
            seg.append(states)
            words.append(embedded)
            asked += [target if target >= 0 else len(config.targets) for _, target in queries]
        parts.append(States(torch.cat(seg), torch.cat(words), torch.tensor(asked)))
    return parts[0], parts[1]


def _strangers(config: VolumetricTrainingConfig, count: int, rng: random.Random) -> list[Path]:
    """Pictures of other body parts: what is asked for does not depend on what is shown."""
    if not config.strangers:
        return []
    folder = data_folder(config.data)
    records = [r for r in read_records(folder, "train") if r.body_part != config.body_part]
    return [folder / record.image for record in rng.choices(records, k=count)] if records else []


def _split(things: Sequence[_Thing], is_kept_out: bool) -> list[_Thing]:
    return [thing for n, thing in enumerate(things) if (n % KEPT_OUT == 0) == is_kept_out]


def fit(network: VolumetricNetwork, states: States, config: VolumetricTrainingConfig) -> None:
    """Train a new reader with AdamW; everything else of the network stays."""
    settings, sizes = config.alignment, network.config
    generator = torch.Generator().manual_seed(config.seed)
    torch.manual_seed(config.seed)
    width = sizes.query_width
    network.reader = QueryReader(sizes.seg_width, 2 * width, width)
    optimizer = torch.optim.AdamW(network.reader.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    learned = F.normalize(network.prototypes.detach(), dim=1)
    deviation = states.seg.std(0)
    for _ in range(settings.steps):
        rows = torch.randint(len(states.seg), (settings.batch_size,), generator=generator)
        noise = torch.randn(len(rows), states.seg.shape[1], generator=generator)
        words = states.words[rows].float()
        # Words that are left out now and then teach to hear the others.
        words = words * (torch.rand(words.shape[:2], generator=generator) > LEFT_OUT)[..., None]
        query = network.reader(states.seg[rows] + settings.noise * deviation * noise, words)
        cosines = query @ learned.T
        asked = states.asked[rows]
        wrong = F.cross_entropy(SHARPNESS * cosines, asked)
        far = 1 - cosines.gather(1, asked[:, None]).mean()
        optimizer.zero_grad()
        (wrong + far).backward()
        optimizer.step()
        schedule.step()
    network.reader.eval().requires_grad_(False)


@torch.inference_mode()
def judge(network: VolumetricNetwork, states: States) -> AlignmentReport:
    """Compare what is meant with what was asked."""
    learned = F.normalize(network.prototypes, dim=1)
    queries = [
        network.reader(seg, words.float())
        for seg, words in zip(states.seg.split(256), states.words.split(256), strict=True)
    ]
    meant = (torch.cat(queries) @ learned.T).argmax(1)
    none = len(network.config.targets)
    own = states.asked < none
    return AlignmentReport(
        found=float((meant[own] < none).float().mean()),
        exact=float((meant[own] == states.asked[own]).float().mean()),
        refused=float((meant[~own] == none).float().mean()),
        queries=len(states.asked),
    )
