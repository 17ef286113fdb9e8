"""What the baselines are: their networks and budgets, on the sampling of a training run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from Sim4SegCore.errors import Sim4SegError

from ..config import SamplingStage, TrainingConfig, load_config
from ..settings import load


@dataclass(frozen=True)
class MasksConfig:
    """The U-Net.

    Attributes:
        base: training configuration (YAML) whose sampling, views, loss weights and optimizer it
            shares; a relative path starts at this file's folder, None is the built-in one.
        overrides: `key=value` of that configuration.
        filters: channels from the finest level, of half the input's side, to the coarsest.
    """

    base: str | None = None
    overrides: tuple[str, ...] = ()
    steps: int = 6000
    learning_rate: float = 1e-3
    filters: tuple[int, ...] = (16, 32, 64, 128, 160)


@dataclass(frozen=True)
class DiagnosisConfig:
    """The classifier.

    Attributes:
        base, overrides: as of `MasksConfig`; only questions with a known diagnosis are drawn.
        architecture: name of a timm network, trained from scratch.
    """

    base: str | None = None
    overrides: tuple[str, ...] = ()
    steps: int = 6000
    learning_rate: float = 1e-3
    architecture: str = "mobilenetv4_conv_small"


@dataclass(frozen=True)
class BaselineConfig:
    """Both baselines; what is not named here is as `TrainingConfig` says."""

    output: str = "runs/baseline"
    data: str | None = None
    seed: int = 0
    batch_size: int = 12
    threads: int = 1
    workers: int = 1
    device: str = "auto"
    bfloat16: bool = True
    save_every: int = 250
    masks: MasksConfig = field(default_factory=MasksConfig)
    diagnosis: DiagnosisConfig = field(default_factory=DiagnosisConfig)

    def training(self, network: MasksConfig | DiagnosisConfig) -> TrainingConfig:
        """The run of one of the two networks.

        The stages of the mixture keep their share of the run, so that a shorter one is not taught
        the beginning alone.

        Raises:
            Sim4SegError: if `base` or `overrides` cannot be used.
        """
        base = load_config(
            None if network.base is None else Path(network.base), list(network.overrides)
        )
        name = "masks" if isinstance(network, MasksConfig) else "diagnosis"
        stages = [
            SamplingStage(round(stage.until * network.steps / base.steps), stage.set_weights)
            for stage in base.sampling.stages
        ]
        return dataclasses.replace(
            base,
            output=str(Path(self.output) / name),
            data=self.data,
            seed=self.seed,
            steps=network.steps,
            batch_size=self.batch_size,
            threads=self.threads,
            workers=self.workers,
            device=self.device,
            bfloat16=self.bfloat16,
            save_every=self.save_every,
            sampling=dataclasses.replace(base.sampling, stages=tuple(stages)),
            optimizer=dataclasses.replace(base.optimizer, learning_rate=network.learning_rate),
        )


def load_baseline(path: Path, overrides: list[str]) -> BaselineConfig:
    """Read and check a configuration.

    Raises:
        Sim4SegError: for unknown keys, wrong types, or a network without steps or levels.
    """
    config: BaselineConfig = load(BaselineConfig, path, overrides)
    if min(config.masks.steps, config.diagnosis.steps, config.batch_size) < 1:
        raise Sim4SegError("masks.steps, diagnosis.steps and batch_size must be above 0")
    if len(config.masks.filters) < 2:
        raise Sim4SegError("masks.filters needs at least two levels")
    masks, diagnosis = config.masks, config.diagnosis
    return dataclasses.replace(
        config,
        masks=dataclasses.replace(masks, base=_beside(path, masks.base)),
        diagnosis=dataclasses.replace(diagnosis, base=_beside(path, diagnosis.base)),
    )


def _beside(path: Path, base: str | None) -> str | None:
    return None if base is None else str(path.parent / base)
