"""The projection from a checkpoint's [SEG] states to the queries that the network has learned.

Every target has a query of its own, and one stands for everything else. Slices of training
volumes, and pictures of other things, are shown to the language model with queries in many words;
the projection learns to lead its [SEG] states to the query of what was asked for, whatever the
picture shows. Words, phrasings and volumes that were kept out say how well it does.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

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

SHARPNESS = 10.0
"""Cosines times this are the logits of which query is meant."""
KEPT_OUT = 6
"""Every so-many-th word, phrasing and volume is kept out of the fit."""


@dataclass(frozen=True)
class States:
    """[SEG] states and what was asked.

    Attributes:
        seg: (N, D).
        asked: int64 (N,), a target, or the number of targets for anything else.
    """

    seg: Tensor
    asked: Tensor


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
    """Fit `network.projection` to a checkpoint's [SEG] states.

    Raises:
        Sim4SegError: if the data cannot be read.
    """
    fitted, kept_out = collect_states(model, config)
    fit(network, fitted, config)
    return judge(network, kept_out)


def collect_states(model: Sim4SegModel, config: VolumetricTrainingConfig) -> tuple[States, States]:
    """States to fit with, and those with words, phrasings and volumes that were kept out."""
    rng = random.Random(config.seed)
    folder, settings = data_folder(config.data), config.alignment
    volumes = sorted((folder.parent / config.volumes / "images").glob("*"))
    others = [r for r in read_records(folder, "train") if r.body_part != config.body_part]
    own, other_words = words_asked(list(config.targets.values()))
    rng.shuffle(other_words)
    parts = []
    for is_kept_out in (False, True):
        count = max(2, settings.slices // (KEPT_OUT if is_kept_out else 1))
        chosen = rng.sample(_split(volumes, is_kept_out), count)
        strangers = [folder / r.image for r in rng.sample(others, count // 3)] if others else []
        side = model.config.lvlm.image_size
        pictures = volume_pictures(chosen, side, rng)
        if not is_kept_out:
            pictures += stored_pictures(strangers, side)
        words, phrases = _split(other_words, is_kept_out), _split(TEMPLATES, is_kept_out)
        states, asked = [], []
        for picture in pictures:
            queries = draw_queries(own, words, phrases, rng)
            states.append(seg_states(model.lvlm, picture, [query for query, _ in queries]))
            asked += [target if target >= 0 else len(config.targets) for _, target in queries]
        parts.append(States(torch.cat(states), torch.tensor(asked)))
    return parts[0], parts[1]


def _split(things, is_kept_out):  # type: ignore[no-untyped-def]
    return [thing for n, thing in enumerate(things) if (n % KEPT_OUT == 0) == is_kept_out]


def fit(network: VolumetricNetwork, states: States, config: VolumetricTrainingConfig) -> None:
    """Train a new projection with AdamW; everything else of the network stays."""
    settings = config.alignment
    generator = torch.Generator().manual_seed(config.seed)
    torch.manual_seed(config.seed)
    for layer in network.projection:
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    network.projection.requires_grad_(True)
    optimizer = torch.optim.AdamW(network.projection.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    prototypes = F.normalize(network.prototypes.detach(), dim=1)
    spread = states.seg.std(0)
    for _ in range(settings.steps):
        rows = torch.randint(len(states.seg), (settings.batch_size,), generator=generator)
        noise = torch.randn(len(rows), states.seg.shape[1], generator=generator)
        query = network.query(states.seg[rows] + settings.noise * spread * noise)
        asked = states.asked[rows]
        cosines = query @ prototypes.T
        wrong = F.cross_entropy(SHARPNESS * cosines, asked)
        far = 1 - cosines.gather(1, asked[:, None]).mean()
        optimizer.zero_grad()
        (wrong + far).backward()
        optimizer.step()
        schedule.step()
    network.projection.requires_grad_(False)


@torch.inference_mode()
def judge(network: VolumetricNetwork, states: States) -> AlignmentReport:
    """Compare what is meant with what was asked."""
    prototypes = F.normalize(network.prototypes, dim=1)
    meant = (network.query(states.seg) @ prototypes.T).argmax(1)
    none = len(network.config.targets)
    own = states.asked < none
    return AlignmentReport(
        found=float((meant[own] < none).float().mean()),
        exact=float((meant[own] == states.asked[own]).float().mean()),
        refused=float((meant[~own] == none).float().mean()),
        queries=len(states.asked),
    )
