"""Training configuration: nested dataclasses, a YAML file and `key=value` overrides."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from Sim4SegCore.modeling.build import CompactLVLMConfig
from Sim4SegCore.modeling.sim4seg import Sim4SegConfig

from .settings import load


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
    diagnosis: float = 0.5
    diagnosis_tokens: float = 4.0
    target: float = 0.2


@dataclass(frozen=True)
class SamplingStage:
    """Factors per set for the steps before `until`; sets not named keep 1."""

    until: int
    set_weights: dict[str, float]


@dataclass(frozen=True)
class SamplingConfig:
    """What a batch is made of.

    Attributes:
        geometry: turn, flip and crop; without, SAM sees each image as it is, and the embeddings
            of a frozen image encoder can be computed once.
        balance_count: groups of (set, target, presence) with fewer images are drawn less, as
            (images / balance_count) ** balance_power.
        set_weights: factor per set on top; `set/target` is for one of its targets alone, and
            `set/target/present` (or `absent`, or a diagnosis) for one group.
        stages: other factors for earlier steps, in order; a hard set that a small model does
            not begin to learn in the mixture does so when it fills most of some hundred batches.
        mismatched: fraction of queries that ask for another organ's target: nothing to find.
        detail_targets: thin targets, segmented in tiles at inference.
        detail_views: fraction of their samples in which SAM sees a small window.
        promptless: fraction of samples whose masks are drawn without RVLS2M's prompt. The LVLM
            knows its training images, so that a segmenter which always has the prompt learns to
            trust it and not to look.
        degraded: fraction of the views that lose quality by compression, shrinking or blur.
        tilt: degrees; views are rotated by up to so many, chest films by a third of it.
        zoom_views: fraction of the others in which SAM sees a part of what the LVLM sees, as
            when a mask is drawn again from near.
    """

    geometry: bool = True
    balance_count: int = 200
    balance_power: float = 0.35
    set_weights: dict[str, float] = field(default_factory=dict)
    stages: tuple[SamplingStage, ...] = ()
    mismatched: float = 0.1
    detail_targets: tuple[str, ...] = ("retinal vessels", "tubings")
    detail_views: float = 0.75
    zoom_views: float = 0.0
    promptless: float = 0.0
    degraded: float = 0.0
    tilt: float = 0.0


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with linear warm-up and cosine or linear decay."""

    learning_rate: float = 1.5e-3
    schedule: Literal["cosine", "linear"] = "cosine"
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.98)
    warmup_steps: int = 200
    clip_norm: float = 1.0
    ema_decay: float = 0.998


@dataclass(frozen=True)
class BaseConfig:
    """Published weights to start from, instead of the compact model built from scratch.

    Attributes:
        lvlm: folder or hub id of a LLaVA-type or Qwen-VL network; None builds the compact one.
        sam: path of a `sam_vit_*.pth`; None leaves the segmenter untrained.
        freeze_image_encoder: SAM's image encoder is not trained.
        embedding_cache: folder for its embeddings, computed once; needs it frozen and
            `sampling.geometry` off.
    """

    lvlm: str | None = None
    sam: str | None = None
    freeze_image_encoder: bool = True
    embedding_cache: str | None = None


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank adapters (peft) for a large language model; the rest of the LVLM is frozen.

    Attributes:
        rank: 0 trains the whole LVLM.
        trained_in_full: modules that are trained as they are and saved with the adapter.
    """

    rank: int = 0
    alpha: int = 16
    dropout: float = 0.05
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    trained_in_full: tuple[str, ...] = ("lm_head", "embed_tokens")


@dataclass(frozen=True)
class ParallelConfig:
    """How processes share the work; `torchrun` starts them.

    Attributes:
        sharded: FSDP2 shards weights, gradients and optimizer instead of DDP's copies.
        gradient_checkpointing: recompute the language model's activations in the backward pass.
    """

    sharded: bool = False
    gradient_checkpointing: bool = False


@dataclass(frozen=True)
class ReasoningConfig:
    """Chains of thought from a run of `run.py cot`, besides the plain ones made on the fly.

    Attributes:
        folder: `output` of that run; None uses none.
        share: of the samples that take one, where the record has one that fits the view.
        reviewed_only: take only what a person accepted or edited.
    """

    folder: str | None = None
    share: float = 0.5
    reviewed_only: bool = False


@dataclass(frozen=True)
class ValidationConfig:
    """Early stopping on the loss over val, in plain views.

    Attributes:
        every: steps between two looks; 0 never looks.
        batches: how many batches of val, always the same.
        patience: looks without a lower loss before training stops.
    """

    every: int = 0
    batches: int = 16
    patience: int = 5


@dataclass(frozen=True)
class TrainingConfig:
    """One run.

    Attributes:
        output: the run folder; a run that was killed is continued from it.
        initial: checkpoint folder whose weights and tokenizer a new run starts from.
        initial_parts: names of the parts of the network that are taken from `initial`, such as
            `lvlm.network.model.vision_tower`, all others start fresh; empty takes all.
        new_words: words that get a token of their own in a run that starts from `initial`, whose
            vocabulary cuts them into many.
        trained_parts: names of the parts of the network that are trained, such as `segmenter`, all
            others stay as `initial` has them; empty trains all.
        more_data: further data folders whose training split is learned too, such as slices of
            volumes; validation and calibration look at `data` alone.
        drawn_masks: folder of `run.py draw`: masks that an earlier model drew where the mask of
            an image is unknown, and was sure of (self-training).
        batch_size: samples of one optimizer step, over all processes and micro-batches, so
            that a run means the same on any number of them.
        micro_batch_size: samples of one forward pass; 0 takes a process's whole share.
        max_text_tokens: longer queries with answers are refused.
        bfloat16: compute in bfloat16 where the device does so natively; elsewhere it is slower.
        image_cache_gib: memory for decoded images, in each loader process; what does not fit is
            read again.
    """

    output: str = "runs/embedded"
    initial: str | None = None
    initial_parts: tuple[str, ...] = ()
    new_words: tuple[str, ...] = ()
    trained_parts: tuple[str, ...] = ()
    data: str | None = None
    more_data: tuple[str, ...] = ()
    drawn_masks: str | None = None
    seed: int = 0
    steps: int = 6000
    batch_size: int = 16
    micro_batch_size: int = 0
    max_text_tokens: int = 512
    image_cache_gib: float = 8.0
    workers: int = 1
    threads: int = 2
    device: str = "auto"
    bfloat16: bool = True
    save_every: int = 250
    vocabulary: int = 1280
    calibration_fraction: float = 0.04
    base: BaseConfig = field(default_factory=BaseConfig)
    lora: LoraSettings = field(default_factory=LoraSettings)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    reasoning: ReasoningConfig = field(default_factory=ReasoningConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    lvlm: CompactLVLMConfig = field(default_factory=CompactLVLMConfig)
    model: Sim4SegConfig = field(default_factory=Sim4SegConfig)
    loss: LossWeights = field(default_factory=LossWeights)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)


def load_config(path: Path | None, overrides: list[str]) -> TrainingConfig:
    """`load` of a `TrainingConfig`."""
    return load(TrainingConfig, path, overrides)
