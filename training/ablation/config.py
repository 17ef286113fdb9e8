"""What an ablation varies: a base configuration and, by variant, what is different."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from Sim4SegCore.errors import Sim4SegError

from ..config import TrainingConfig, load_config
from ..settings import load


@dataclass(frozen=True)
class Variant:
    """One way to train.

    Attributes:
        overrides: `key=value` of the training configuration.
    """

    name: str
    overrides: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """Its folder inside the ablation's output."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


@dataclass(frozen=True)
class AblationConfig:
    """Variants that share seed and budget.

    Attributes:
        base: training configuration (YAML); a relative path starts at this file's folder.
        overrides: `key=value` for all variants.
        reference: the variant that the others are compared with.
        split: what is evaluated.
    """

    variants: tuple[Variant, ...] = ()
    output: str = "runs/ablation"
    base: str | None = None
    overrides: tuple[str, ...] = ()
    reference: str = "soft"
    split: str = "val"

    def training(self, variant: Variant) -> TrainingConfig:
        """The configuration of one variant's run."""
        place = f"output={Path(self.output) / variant.folder / 'run'}"
        base = None if self.base is None else Path(self.base)
        return load_config(base, [*self.overrides, *variant.overrides, place])


def load_ablation(path: Path, overrides: list[str]) -> AblationConfig:
    """Read and check an ablation.

    Raises:
        Sim4SegError: for unknown keys, names that clash, a reference that is no variant, or
            variants of which one trains longer or from another seed.
    """
    config: AblationConfig = load(AblationConfig, path, overrides)
    if config.base is not None and not Path(config.base).is_absolute():
        located = path.parent / config.base
        config = AblationConfig(**(vars(config) | {"base": str(located)}))
    folders = [variant.folder for variant in config.variants]
    if len(set(folders)) != len(folders) or "" in folders:
        raise Sim4SegError("variants need names that differ in letters or digits")
    if config.reference not in [variant.name for variant in config.variants]:
        raise Sim4SegError(f"the reference '{config.reference}' is not among the variants")
    budgets = {_budget(config.training(variant)) for variant in config.variants}
    if len(budgets) > 1:
        raise Sim4SegError("variants must share steps, batch_size and seed to be comparable")
    return config


def _budget(config: TrainingConfig) -> tuple[int, int, int]:
    return config.steps, config.batch_size, config.seed
