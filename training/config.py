"""Training configuration: nested dataclasses, a YAML file and `key=value` overrides."""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.modeling.build import CompactLVLMConfig
from Sim4SegCore.modeling.sim4seg import Sim4SegConfig


@dataclass(frozen=True)
class LossWeights:
    """Weights of the loss; text, BCE and Dice are the paper's."""

    text: float = 1.0
    mask_bce: float = 2.0
    mask_dice: float = 0.5
    multimask: float = 0.3
    iou: float = 0.2
    similarity: float = 0.5
    presence: float = 1.0
    detail: float = 0.2
    classification: float = 0.5
    diagnosis_tokens: float = 4.0


@dataclass(frozen=True)
class SamplingStage:
    """Factors per set for the steps before `until`; sets not named keep 1."""

    until: int
    set_weights: dict[str, float]


@dataclass(frozen=True)
class SamplingConfig:
    """What a batch is made of.

    Attributes:
        balance_count: groups of (set, target, presence) with fewer images are drawn less, as
            (images / balance_count) ** balance_power.
        set_weights: factor per set on top.
        stages: other factors for earlier steps, in order; a hard set that a small model does
            not begin to learn in the mixture does so when it fills most of some hundred batches.
        mismatched: fraction of queries that ask for another organ's target: nothing to find.
        detail_targets: thin targets, segmented in tiles at inference.
        detail_views: fraction of their samples in which SAM sees a small window.
    """

    balance_count: int = 200
    balance_power: float = 0.35
    set_weights: dict[str, float] = field(default_factory=dict)
    stages: tuple[SamplingStage, ...] = ()
    mismatched: float = 0.1
    detail_targets: tuple[str, ...] = ("retinal vessels", "tubings")
    detail_views: float = 0.75


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with linear warm-up and cosine decay."""

    learning_rate: float = 1.5e-3
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.98)
    warmup_steps: int = 200
    clip_norm: float = 1.0
    ema_decay: float = 0.998


@dataclass(frozen=True)
class TrainingConfig:
    """One run.

    Attributes:
        output: the run folder; a run that was killed is continued from it.
        initial: checkpoint folder whose weights and tokenizer a new run starts from.
    """

    output: str = "runs/embedded"
    initial: str | None = None
    data: str | None = None
    seed: int = 0
    steps: int = 6000
    batch_size: int = 16
    workers: int = 1
    threads: int = 2
    device: str = "auto"
    bfloat16: bool = True
    save_every: int = 250
    vocabulary: int = 1280
    calibration_fraction: float = 0.04
    lvlm: CompactLVLMConfig = field(default_factory=CompactLVLMConfig)
    model: Sim4SegConfig = field(default_factory=Sim4SegConfig)
    loss: LossWeights = field(default_factory=LossWeights)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)


def load_config(path: Path | None, overrides: list[str]) -> TrainingConfig:
    """Read a YAML file and apply `a.b=value` overrides, each value read as YAML.

    Raises:
        Sim4SegError: for an unknown key (with the nearest valid one) or a wrong type.
    """
    values: dict[str, Any] = {}
    if path is not None:
        if not path.is_file():
            raise Sim4SegError(f"no configuration file {path}")
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    for override in overrides:
        key, sign, text = override.partition("=")
        if not sign:
            raise Sim4SegError(f"'{override}' is not of the form key=value")
        node = values
        *parents, last = key.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = yaml.safe_load(text)
    config: TrainingConfig = from_dict(TrainingConfig, values, "")
    return config


def from_dict(cls: Any, values: Any, where: str) -> Any:
    """Build a dataclass from plain values, refusing what does not fit."""
    if not isinstance(values, dict):
        raise Sim4SegError(f"{where or 'the configuration'} must be a mapping")
    hints = get_type_hints(cls)
    names = {f.name for f in dataclasses.fields(cls)}
    for key in values:
        if key not in names:
            near = difflib.get_close_matches(str(key), names, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise Sim4SegError(f"unknown key {where}{key}{hint}")
    return cls(**{k: _convert(hints[k], v, f"{where}{k}") for k, v in values.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value, f"{where}.")
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple and isinstance(value, list | tuple):
        inner = arguments[0]
        return tuple(_convert(inner, item, where) for item in value)
    if origin is dict and isinstance(value, dict):
        return {str(k): _convert(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    accepted = arguments if arguments and origin is not tuple else (hint,)
    for option in accepted:
        if not isinstance(option, type):
            if option == value:
                return value
        elif option is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        elif isinstance(value, option) and (option is bool or not isinstance(value, bool)):
            return value
    wanted = " or ".join(getattr(o, "__name__", repr(o)) for o in accepted)
    raise Sim4SegError(f"{where} must be {wanted}, not {value!r}")
