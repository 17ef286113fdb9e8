"""How many images are called outside: of a split and changed versions of it, and of others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.intensity import to_rgb8
from Sim4SegCore.modeling.sim4seg import Sim4SegModel

from ..records import Record
from ..views import ImageStore, Pixels
from .features import FeatureReader
from .outside_images import OutsideImage
from .perturbations import PERTURBATIONS, Perturbation

ALL = "all"


@dataclass(frozen=True)
class Share:
    """Of one kind of images.

    Attributes:
        outside: how many of `count` are called outside.
    """

    name: str
    count: int
    outside: int

    @property
    def rate(self) -> float:
        """0..1."""
        return self.outside / self.count


class FamiliarityMeter:
    """Judges as the predictor does, without the rest of an answer."""

    def __init__(self, model: Sim4SegModel) -> None:
        """
        Raises:
            Sim4SegError: if the checkpoint cannot tell, or its judge is of other weights.
        """
        if model.familiarity is None:
            raise Sim4SegError(
                "this checkpoint has no familiarity.safetensors; run `run.py familiarity` first"
            )
        model.familiarity.check_fits(model.lvlm)
        self._judge = model.familiarity
        self._reader = FeatureReader(model.lvlm)

    def of_records(self, records: Sequence[Record], folder: Path) -> list[Share]:
        """By set, then all together."""
        read = self._outside(_pixels(records, folder, lambda pixels: pixels))
        return _by_name([record.dataset for record in records], read)

    def of_changed_records(self, records: Sequence[Record], folder: Path) -> list[Share]:
        """By what was done to them."""
        shares = []
        for name, perturbation in PERTURBATIONS.items():
            outside = self._outside(_pixels(records, folder, perturbation))
            shares.append(Share(name, len(records), int(outside.sum())))
        return shares

    def of_others(self, images: Iterable[OutsideImage]) -> list[Share]:
        """By kind, then all together."""
        kinds: list[str] = []
        untaught: list[bool] = []

        def pixels() -> Iterable[Pixels]:
            for image in images:
                kinds.append(image.kind)
                untaught.append(self._judge.is_untaught(image.modality))
                yield to_rgb8(image.case)

        outside = self._outside(pixels())
        return _by_name(kinds, outside | torch.tensor(untaught))

    def _outside(self, images: Iterable[Pixels]) -> Tensor:
        """bool (N,)."""
        return self._judge.distances(self._reader.read(images)) > self._judge.limit


def shares_table(title: str, shares: Sequence[Share]) -> str:
    """Markdown."""
    rows = [f"| {each.name} | {each.count} | {100 * each.rate:.1f} % |" for each in shares]
    return "\n".join([f"| {title} | n | called outside |", "|---|---|---|", *rows])


def _pixels(
    records: Sequence[Record], folder: Path, perturbation: Perturbation
) -> Iterable[Pixels]:
    store = ImageStore(folder, cache_gib=0)
    for record in records:
        image = store.image(record)
        rgb = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
        yield perturbation(rgb)


def _by_name(names: Sequence[str], outside: Tensor) -> list[Share]:
    found: dict[str, list[bool]] = defaultdict(list)
    for name, is_outside in zip(names, outside.tolist(), strict=True):
        found[name].append(is_outside)
    shares = [Share(name, len(flags), sum(flags)) for name, flags in found.items()]
    return [*shares, Share(ALL, len(outside), int(torch.count_nonzero(outside)))]
