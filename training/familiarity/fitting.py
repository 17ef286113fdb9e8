"""Fits the judge of familiarity to a checkpoint: minutes on a CPU.

Familiar are training images and views of them; unfamiliar are the exposed outside images and
training images torn apart. The limit comes from training patients that were held out.
"""

from __future__ import annotations

import dataclasses
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.intensity import to_rgb8
from Sim4SegCore.modalities import codes_of
from Sim4SegCore.modeling.familiarity import FamiliarityJudge, standardised, vision_fingerprint
from Sim4SegCore.modeling.lvlm import LVLM

from ..records import Record
from ..views import ImageStore, Pixels
from .blended import blended_views
from .config import FamiliarityConfig
from .features import FeatureReader
from .outside_images import OutsideImage, exposed_images, exposed_noise, exposed_pictures
from .own_images import own_images
from .perturbations import PERTURBATIONS, varied
from .torn import torn

_LEAST_SPREAD = 1e-5

Item = TypeVar("Item")


def fit_familiarity(
    lvlm: LVLM,
    training: Sequence[Record],
    held_out: Sequence[Record],
    folder: Path,
    exposed: Sequence[Path] = (),
    familiar: Sequence[Path] = (),
    config: FamiliarityConfig | None = None,
) -> FamiliarityJudge:
    """Fit to an LVLM's vision tower.

    Args:
        training: records that were trained on.
        held_out: records of the training split that were not.
        folder: of both.
        exposed: further images or volumes of what the model was not trained on.
        familiar: of what it was trained on besides the records.

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
    known = [plain, read(map(images.varied, chosen))]
    if familiar:
        known.append(read(to_rgb8(image.case) for image in _some(familiar, config)))
    torn_up = evenly_chosen(training, config.torn_per_set)
    strange = [read(kind) for kind in _strange(images, torn_up, exposed, config)]
    judge = _fitted(torch.cat(known), strange, vision_fingerprint(lvlm), config)
    unseen = read(chain.from_iterable(map(images.as_users_have_it, held_out)))
    limit = torch.quantile(judge.distances(unseen), 1 - config.outside_rate)
    taught = codes_of({record.modality for record in training})
    return dataclasses.replace(judge, limit=round(float(limit), 4), taught=taught)


def _strange(
    images: _Images, torn_up: Sequence[Record], exposed: Sequence[Path], config: FamiliarityConfig
) -> Iterator[Iterable[Pixels]]:
    """Images of each kind that the model was not trained on."""
    yield images.torn(torn_up)
    views = blended_views(exposed_pictures(), config.blended, config.seed)
    yield chain((to_rgb8(image.case) for image in exposed_images()), views)
    yield (to_rgb8(image.case) for image in exposed_noise())
    if exposed:
        yield (to_rgb8(image.case) for image in own_images(exposed))


def _some(places: Sequence[Path], config: FamiliarityConfig) -> list[OutsideImage]:
    """Images at these places, evenly spread."""
    return _spread(list(own_images(places)), config.more_familiar)


def evenly_chosen(records: Sequence[Record], most: int) -> list[Record]:
    """At most so many of each set, evenly spread over it."""
    sets: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        sets[record.dataset].append(record)
    chosen: list[Record] = []
    for members in sets.values():
        chosen += _spread(members, most)
    return chosen


def _spread(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many, evenly spread."""
    places = np.linspace(0, len(items), min(most, len(items)), endpoint=False)
    return [items[int(place)] for place in places]


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
    """A judge without its limit: the mean of several small networks, which is one wide network."""
    mean, spread = familiar.mean(0), familiar.std(0).clamp_min(_LEAST_SPREAD)
    sides = [standardised(each, mean, spread) for each in (familiar, *strange)]
    networks = [_network(sides, config, number) for number in range(config.networks)]
    return FamiliarityJudge(
        mean=mean,
        spread=spread,
        hidden=torch.cat([hidden.weight.detach() for hidden, _ in networks]),
        hidden_bias=torch.cat([hidden.bias.detach() for hidden, _ in networks]),
        output=torch.cat([output.weight.detach()[0] for _, output in networks]) / len(networks),
        limit=0.0,
        fitted_to=fitted_to,
    )


def _network(
    sides: Sequence[Tensor], config: FamiliarityConfig, number: int
) -> tuple[nn.Linear, nn.Linear]:
    """Both layers of one network.

    Args:
        sides: features (N, F) of familiar images, then of each kind of strange ones, which weigh
            the same.
    """
    share = config.batch // (len(sides) - 1)
    counts = [config.batch, *(share for _ in sides[1:])]
    target = torch.cat([torch.zeros(counts[0]), torch.ones(sum(counts[1:]))])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed + number)
        hidden = nn.Linear(sides[0].shape[1], config.hidden)
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
    return hidden, output
