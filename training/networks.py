"""The model that a run trains: built from scratch, or from published weights with adapters."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.modeling.answer import UNKNOWN_DIAGNOSIS
from Sim4SegCore.modeling.build import build_compact_lvlm, build_model
from Sim4SegCore.modeling.checkpoint import LVLM_FOLDER, load_model, resolve_folder
from Sim4SegCore.modeling.lvlm import LVLM
from Sim4SegCore.modeling.lvlm_loading import load_lvlm, outline_lvlm, prompt_of
from Sim4SegCore.modeling.segmenter import SAM_ENCODERS, load_sam_checkpoint
from Sim4SegCore.modeling.sim4seg import Sim4SegConfig, Sim4SegModel

from .config import LoraSettings, TrainingConfig
from .records import Record
from .vocabulary import extend_tokenizer, train_tokenizer

_LOGGER = logging.getLogger(__name__)

TOKENIZER_FOLDER = "tokenizer"


@dataclasses.dataclass(frozen=True)
class Network:
    """A model and, where one is trained, peft's handle on its language model's adapter."""

    model: Sim4SegModel
    adapter: Any | None = None


def build_network(
    config: TrainingConfig, records: Sequence[Record], outline: bool = False
) -> Network:
    """The model in the state in which training starts, on the CPU.

    Args:
        records: of the training split; diagnoses and, from scratch, the vocabulary come from
            them.
        outline: shapes alone, on torch's meta device; nothing is read but configurations.

    Raises:
        Sim4SegError: if weights are missing or do not fit, or the configuration asks for what
            does not go together.
    """
    torch.manual_seed(config.seed)
    labels = sorted({r.diagnosis for r in records if r.diagnosis} | {UNKNOWN_DIAGNOSIS})
    model_config = dataclasses.replace(config.model, diagnoses=tuple(labels))
    with torch.device("meta") if outline else torch.device("cpu"):
        network = _assemble(config, model_config, records, outline)
    _choose_trained(network.model, config)
    if config.initial is not None and not outline:
        fresh = start_from(network.model, Path(config.initial), config.initial_parts)
        if fresh and not config.initial_parts:
            _LOGGER.warning("not in %s, starts fresh: %s", config.initial, ", ".join(fresh))
    return network


def _assemble(
    config: TrainingConfig, model_config: Sim4SegConfig, records: Sequence[Record], outline: bool
) -> Network:
    if config.base.lvlm is None:
        if config.lora.rank:
            raise Sim4SegError("lora.rank needs base.lvlm: a compact model is trained whole")
        lvlm = build_compact_lvlm(config.lvlm, model_config, _tokenizer(config, records))
    else:
        lvlm = _published_lvlm(config, config.base.lvlm, outline)
        model_config = dataclasses.replace(model_config, lvlm=lvlm.config)
    model = build_model(model_config, lvlm)
    if config.base.sam is not None and not outline:
        load_sam_checkpoint(model.segmenter, config.base.sam)
    adapter = _add_lora(lvlm, config.lora) if config.lora.rank else None
    return Network(model, adapter)


def _tokenizer(config: TrainingConfig, records: Sequence[Record]) -> PreTrainedTokenizerFast:
    """The run's own; a new run takes it from its initial checkpoint or trains one."""
    folder = Path(config.output) / TOKENIZER_FOLDER
    if folder.is_dir():
        return PreTrainedTokenizerFast.from_pretrained(folder)
    if config.initial is not None:
        known = PreTrainedTokenizerFast.from_pretrained(Path(config.initial) / LVLM_FOLDER)
        return extend_tokenizer(known, config.new_words)
    return train_tokenizer(records, config.vocabulary)


def _published_lvlm(config: TrainingConfig, source: str, outline: bool) -> LVLM:
    place = resolve_folder(source)
    settings = dataclasses.replace(config.model.lvlm, source=source, prompt=prompt_of(place))
    if outline:
        return outline_lvlm(place, settings)
    # Weights that are not trained lose nothing in the precision that they are used in.
    half = config.lora.rank > 0 and config.bfloat16
    return load_lvlm(place, settings, torch.bfloat16 if half else torch.float32)


def _add_lora(lvlm: LVLM, settings: LoraSettings) -> Any:
    """Put adapters into the network in place; everything else of it is frozen."""
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise Sim4SegError("lora.rank needs peft: pip install 'sim4seg[lora]'") from None
    lvlm.network.requires_grad_(False)
    peft_config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(settings.targets),
        modules_to_save=list(settings.trained_in_full),
    )
    try:
        adapter = get_peft_model(lvlm.network, peft_config)
    except ValueError as error:
        raise Sim4SegError(f"lora does not fit this network: {error}") from None
    for parameter in lvlm.network.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return adapter


def _choose_trained(model: Sim4SegModel, config: TrainingConfig) -> None:
    """Freeze what is not trained, and what no loss ever reaches: processes wait for gradients."""
    segmenter = model.segmenter
    if model.config.segmenter.encoder in SAM_ENCODERS and config.base.freeze_image_encoder:
        segmenter.image_encoder.requires_grad_(False)
    prompts = segmenter.prompt_encoder
    prompts.point_embeddings.requires_grad_(False)
    prompts.not_a_point_embed.requires_grad_(False)
    if model.config.rvls2m.mode == "none":
        prompts.mask_downscaling.requires_grad_(False)
    else:
        prompts.no_mask_embed.requires_grad_(False)
    if config.base.sam is not None:
        prompts.requires_grad_(False)
    if config.base.lvlm is not None:
        # LLaVA takes an earlier layer's features: the tower's last layers get no gradient.
        model.lvlm.vision_tower.requires_grad_(False)
    if config.base.embedding_cache is not None:
        _check_cache_is_possible(config)
    if config.trained_parts:
        _freeze_all_but(model, config.trained_parts)


def _freeze_all_but(model: Sim4SegModel, parts: Sequence[str]) -> None:
    check_parts("trained_parts", parts, model)
    for name, parameter in model.named_parameters():
        if not is_within(name, parts):
            parameter.requires_grad_(False)


def check_parts(setting: str, parts: Sequence[str], model: Sim4SegModel) -> None:
    """Refuse parts that a model does not have.

    Raises:
        Sim4SegError: for the first of them.
    """
    for part in parts:
        if not any(is_within(name, [part]) for name, _ in model.named_parameters()):
            raise Sim4SegError(f"{setting} names {part}, which this model does not have")


def is_within(name: str, parts: Sequence[str]) -> bool:
    """Whether a tensor belongs to one of the parts of a network."""
    return name.startswith(tuple(f"{part}." for part in parts))


def _check_cache_is_possible(config: TrainingConfig) -> None:
    if config.model.segmenter.encoder not in SAM_ENCODERS or not config.base.freeze_image_encoder:
        raise Sim4SegError("base.embedding_cache needs a frozen image encoder of SAM's own")
    if config.sampling.geometry:
        raise Sim4SegError(
            "base.embedding_cache needs sampling.geometry=false: turned images are not in it"
        )


def start_from(model: Sim4SegModel, checkpoint: Path, parts: Sequence[str] = ()) -> list[str]:
    """Copy a checkpoint's weights into a new model; a segmenter of another kind starts fresh.

    Args:
        parts: what is copied; empty for all.

    Returns:
        names of tensors that were not copied; they keep their fresh values.

    Raises:
        Sim4SegError: if it was taught other labels, or has other sizes or parts.
    """
    initial = load_model(checkpoint)
    weights = initial.state_dict()
    if parts:
        check_parts("initial_parts", parts, initial)
        weights = {n: w for n, w in weights.items() if is_within(n, parts)}
    elif initial.config.diagnoses != model.config.diagnoses:
        raise Sim4SegError(f"{checkpoint} was taught other diagnoses than these records have")
    if initial.config.segmenter.encoder != model.config.segmenter.encoder:
        weights = {n: w for n, w in weights.items() if not n.startswith("segmenter.")}
    _add_words(weights, initial, model)
    try:
        missing, unknown = model.load_state_dict(weights, strict=False)
    except RuntimeError:
        raise Sim4SegError(f"{checkpoint} has other sizes than this configuration") from None
    if unknown:
        raise Sim4SegError(f"{checkpoint} has parts that this configuration lacks: {unknown[0]}")
    return list(missing)


def _add_words(weights: dict[str, Tensor], initial: Sim4SegModel, model: Sim4SegModel) -> None:
    """Embed tokens that the initial vocabulary lacks as the mean of what it cuts them into."""
    tokenizer, words = initial.lvlm.tokenizer, model.lvlm.tokenizer
    known = initial.lvlm.network.get_input_embeddings().weight
    new = [
        known[tokenizer.convert_tokens_to_ids(tokenizer.tokenize(words.decode([token])))].mean(0)
        for token in range(len(tokenizer), len(words))
    ]
    if not new:
        return
    for name, weight in weights.items():
        if weight.shape == known.shape and torch.equal(weight, known):
            weights[name] = torch.cat([weight, torch.stack(new)])


@dataclasses.dataclass(frozen=True)
class Footprint:
    """Parameters of a run and what they take on each device, without activations.

    Attributes:
        gibibytes: weights, and for what is trained gradients, AdamW's two moments and the
            average in float32.
    """

    trained: int
    frozen: int
    gibibytes: float


def footprint(model: nn.Module) -> Footprint:
    """Count a model's parameters; works on the meta device."""
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    frozen = [p for p in model.parameters() if not p.requires_grad]
    bytes_used = trained * 4 * 5 + sum(p.numel() * p.element_size() for p in frozen)
    return Footprint(trained, sum(p.numel() for p in frozen), bytes_used / 2**30)
