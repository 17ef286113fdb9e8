"""Configuration of the volumetric network's training and alignment."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..config import OptimizerConfig
from ..settings import load


@dataclass(frozen=True)
class TargetConfig:
    """A structure that is taught.

    Attributes:
        labels: values of the label files that belong to it.
        weight: how often it is asked for, against the other targets.
        words: how queries call it; the first is what findings are called.
    """

    labels: tuple[int, ...]
    words: tuple[str, ...]
    weight: float = 1.0


@dataclass(frozen=True)
class VariationConfig:
    """How training windows differ from the scans.

    Attributes:
        rotation: degrees at most, about each axis.
        scale: sizes between 1 / scale and scale.
        stretch: likewise, along each axis for itself.
        shift: voxels at most, along each axis.
        mirror: left and right change places in half of the windows.
        gamma: exponents between 1 / gamma and gamma.
        noise: standard deviation at most, of a range of 2.
        blur: probability that a window is smoothed.
        inverted: probability that a window has black and white exchanged.
    """

    rotation: float = 20.0
    scale: float = 1.2
    stretch: float = 1.1
    shift: float = 6.0
    mirror: bool = True
    gamma: float = 1.6
    noise: float = 0.12
    blur: float = 0.15
    inverted: float = 0.0


@dataclass(frozen=True)
class AlignmentConfig:
    """How the reader of [SEG] states is fitted; see `alignment`.

    Attributes:
        slices: of training volumes and pictures that the queries are read on.
        steps: of AdamW on the reader alone.
        batch_size: states of a step.
        learning_rate: of these steps.
        noise: standard deviation of what is added to a state, in its own deviations.
    """

    slices: int = 30
    steps: int = 1500
    batch_size: int = 256
    learning_rate: float = 2e-3
    noise: float = 1.0


@dataclass(frozen=True)
class VolumetricTrainingConfig:
    """One run.

    Attributes:
        output: the run folder; a run that was killed is continued from it.
        data: folder with `m3ds/` and volumes; None as everywhere in training.
        volumes: folder in it that holds `images/` and `labels/` of the same names.
        source, licence: of the volumes, for the network's card.
        targets: by name.
        crop: voxels of a training window along z, y, x, multiples of the network's stride.
        modality, seg_width, channels, window, spacing_mm, overlap: see `VolumetricConfig`.
        body_part: of the volumes, as M3DS calls it.
        strangers: so many pictures of the M3DS training split, of other body parts, stand for
            scans without any target.
        stranger_share: fraction of windows that are made of them.
        mismatched: fraction of queries that ask for something else.
        query_noise: how far, at most, a query is moved off its learned place; 1 is its length.
        held_out: every so-many-th volume is kept for thresholds; 0 keeps none.
    """

    output: str = "runs/volumetric"
    data: str | None = None
    volumes: str = "volumes/hippocampus/train"
    source: str = ""
    licence: str = ""
    targets: dict[str, TargetConfig] = field(default_factory=dict)
    modality: str = "MR"
    crop: tuple[int, ...] = (32, 48, 32)
    seg_width: int = 192
    channels: tuple[int, ...] = (16, 32, 48, 64)
    window: tuple[int, ...] = (48, 64, 48)
    spacing_mm: float = 1.0
    overlap: float = 0.25
    seed: int = 0
    steps: int = 2500
    batch_size: int = 2
    threads: int = 1
    device: str = "auto"
    bfloat16: bool = True
    save_every: int = 200
    body_part: str = "brain"
    strangers: int = 200
    stranger_share: float = 0.08
    mismatched: float = 0.2
    query_noise: float = 0.6
    held_out: int = 12
    variation: VariationConfig = field(default_factory=VariationConfig)
    alignment: AlignmentConfig = field(default_factory=AlignmentConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)


def load_volumetric_config(path: Path | None, overrides: list[str]) -> VolumetricTrainingConfig:
    """`load` of a `VolumetricTrainingConfig`."""
    return load(VolumetricTrainingConfig, path, overrides)
