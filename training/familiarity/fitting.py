"""Fits the judge of familiarity to a checkpoint: minutes on a CPU.

Familiar are training images and views of them; unfamiliar are the exposed outside images and
training images torn apart. The limit comes from training patients that were held out.
"""

from __future__ import annotations

import dataclasses
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.intensity import to_rgb8
from Sim4SegCore.modeling.familiarity import FamiliarityJudge, standardised, vision_fingerprint
from Sim4SegCore.modeling.lvlm import LVLM

from ..records import Record
from ..views import ImageStore, Pixels
from .config import FamiliarityConfig
from .features import FeatureReader
from .outside_images import exposed_images
from .own_images import own_images
from .perturbations import PERTURBATIONS, varied
from .torn import torn

_LEAST_SPREAD = 1e-5


def fit_familiarity(
    lvlm: LVLM,
    training: Sequence[Record],
    held_out: Sequence[Record],
    folder: Path,
    exposed: Sequence[Path] = (),
    config: FamiliarityConfig | None = None,
) -> FamiliarityJudge:
    """Fit to an LVLM's vision tower.

    Args:
        training: records that were trained on.
        held_out: records of the training split that were not.
        folder: of both.
        exposed: further images or volumes of what the model was not trained on.

    Raises:
        Sim4SegError: without held-out records, or if an image cannot be read.
    """
    if not held_out:
        raise Sim4SegError("no training images are held out: there are too few of them")
    config = config or FamiliarityConfig()
    images = _Images(folder, config)
    read = FeatureReader(lvlm).read
    chosen = evenly_chosen(training, config.images_per_set)
    plain = read(map(images.plain, chosen))
    familiar = torch.cat([plain, read(map(images.varied, chosen))])
    few = evenly_chosen(training, config.torn_per_set)
    others = chain(exposed_images(), own_images(exposed))
    strange = [read(images.torn(few)), read(to_rgb8(image.case) for image in others)]
    judge = _fitted(familiar, strange, vision_fingerprint(lvlm), config)
    known = read(chain.from_iterable(map(images.as_users_have_it, held_out)))
    limit = torch.quantile(judge.distances(known), 1 - config.outside_rate)
    return dataclasses.replace(judge, limit=round(float(limit), 4))


def evenly_chosen(records: Sequence[Record], most: int) -> list[Record]:
    """At most so many of each set, evenly spread over it."""
    sets: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        sets[record.dataset].append(record)
    chosen: list[Record] = []
    for members in sets.values():
        places = np.linspace(0, len(members), min(most, len(members)), endpoint=False)
        chosen += [members[int(place)] for place in places]
    return chosen


class _Images:
    """Records as pixels, uint8 (H, W, 3), always the same."""

    def __init__(self, folder: Path, config: FamiliarityConfig) -> None:
        self._store = ImageStore(folder, cache_gib=0)
        self._seed = config.seed

    def plain(self, record: Record) -> Pixels:
        pixels = self._store.image(record)
        return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)

    def varied(self, record: Record) -> Pixels:
        return varied(self.plain(record), record, random.Random(f"{self._seed} {record.id}"))

    def torn(self, records: Sequence[Record]) -> Iterator[Pixels]:
        rng = random.Random(self._seed)
        for record in records:
            yield torn(self.plain(record), self.plain(rng.choice(records)), rng)

    def as_users_have_it(self, record: Record) -> Iterator[Pixels]:
        """As it is, and changed in one of the ways that must not matter."""
        pixels = self.plain(record)
        yield pixels
        rng = random.Random(f"{self._seed} {record.id}")
        yield rng.choice(list(PERTURBATIONS.values()))(pixels)


def _fitted(
    familiar: Tensor, strange: Sequence[Tensor], fitted_to: str, config: FamiliarityConfig
) -> FamiliarityJudge:
    """A judge without its limit; torn and exposed images weigh the same."""
    mean, spread = familiar.mean(0), familiar.std(0).clamp_min(_LEAST_SPREAD)
    sides = [standardised(each, mean, spread) for each in (familiar, *strange)]
    share = config.batch // len(strange)
    counts = [config.batch, *(share for _ in strange)]
    target = torch.cat([torch.zeros(counts[0]), torch.ones(sum(counts[1:]))])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        hidden = nn.Linear(len(mean), config.hidden)
        output = nn.Linear(config.hidden, 1, bias=False)
        optimizer = torch.optim.AdamW(
            [*hidden.parameters(), *output.parameters()],
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
        )
        for _ in range(config.steps):
            drawn = [
                side[torch.randint(len(side), (count,))]
                for side, count in zip(sides, counts, strict=True)
            ]
            active = F.dropout(hidden(torch.cat(drawn)).relu(), config.dropout)
            loss = F.binary_cross_entropy_with_logits(output(active)[:, 0], target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return FamiliarityJudge(
        mean=mean,
        spread=spread,
        hidden=hidden.weight.detach(),
        hidden_bias=hidden.bias.detach(),
        output=output.weight.detach()[0],
        limit=0.0,
        fitted_to=fitted_to,
    )
