"""Loads the language-vision model: any LLaVA-type or Qwen-VL folder that transformers reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoTokenizer,
    PreTrainedConfig,
)
from transformers.utils import logging as transformers_logging

from ..errors import Sim4SegError
from .answer import PromptStyle
from .lvlm import LVLM, LVLMConfig
from .vision import register

QWEN_PROMPT = PromptStyle(
    before_image="<|im_start|>user\n<|vision_start|>",
    after_image="<|vision_end|>{query}<|im_end|>\n<|im_start|>assistant\n",
)


def prompt_style(model_type: str) -> PromptStyle:
    """The prompt that a family of networks was taught, by transformers' `model_type`."""
    return QWEN_PROMPT if model_type.startswith("qwen") else PromptStyle()


def prompt_of(place: Path) -> PromptStyle:
    """The prompt of the network in a folder.

    Raises:
        Sim4SegError: if the folder has no configuration of transformers.
    """
    return prompt_style(_read_configuration(place).model_type)


def _read_configuration(place: Path) -> PreTrainedConfig:
    register()
    try:
        return AutoConfig.from_pretrained(place, local_files_only=True)
    except (OSError, ValueError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise Sim4SegError(f"the LVLM in {place.name} cannot be loaded: {lines[0]}") from None


def outline_lvlm(place: Path, config: LVLMConfig) -> LVLM:
    """The network's shapes without its weights, on torch's meta device.

    Raises:
        Sim4SegError: if the configuration, tokenizer or image processor is missing.
    """
    with torch.device("meta"):
        network = AutoModelForImageTextToText.from_config(_read_configuration(place))
    _check_image_size(network.config.vision_config, config.image_size)
    tokenizer = _read_part("tokenizer", AutoTokenizer, place)
    return LVLM(
        config, network, tokenizer, _read_part("image processor", AutoImageProcessor, place)
    )


def load_lvlm(
    place: Path,
    config: LVLMConfig,
    dtype: torch.dtype = torch.float32,
    tokenizer_place: Path | None = None,
    adapter: Path | None = None,
) -> LVLM:
    """Load network, tokenizer and image processor from a local folder.

    Args:
        place: a folder as transformers' `save_pretrained` writes it.
        config: image size and prompt.
        dtype: of the weights in memory.
        tokenizer_place: folder of a tokenizer that knows [SEG], if not `place`.
        adapter: folder of a LoRA adapter (peft), merged into the weights.

    Raises:
        Sim4SegError: if a file or tensor is missing or has the wrong shape.
    """
    register()
    transformers_logging.disable_progress_bar()
    network, report = _read(place, dtype)
    missing = sorted(report["missing_keys"])
    if missing:
        raise Sim4SegError(f"the LVLM in {place.name} lacks the tensor {missing[0]}")
    for name, found, wanted in sorted(report["mismatched_keys"]):
        raise Sim4SegError(
            f"the LVLM in {place.name}: tensor {name} is {tuple(found)}, "
            f"its configuration says {tuple(wanted)}"
        )
    _check_image_size(network.config.vision_config, config.image_size)
    tokenizer = _read_part("tokenizer", AutoTokenizer, tokenizer_place or place)
    if len(tokenizer) > network.get_input_embeddings().num_embeddings:
        network.resize_token_embeddings(len(tokenizer))
    if adapter is not None:
        network = _merge_adapter(network, adapter)
    processor = _read_part("image processor", AutoImageProcessor, place)
    return LVLM(config, network, tokenizer, processor)


def _check_image_size(vision_config: Any, image_size: int) -> None:
    patch = getattr(vision_config, "patch_size", 1) * getattr(
        vision_config, "spatial_merge_size", 1
    )
    fixed = getattr(vision_config, "image_size", None)
    if fixed is not None and fixed != image_size:
        raise Sim4SegError(f"lvlm.image_size is {image_size}; this vision tower needs {fixed}")
    if image_size % patch:
        raise Sim4SegError(f"lvlm.image_size is {image_size}; choose a multiple of {patch}")


def _read(place: Path, dtype: torch.dtype) -> tuple[Any, dict[str, Any]]:
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        loaded: tuple[Any, dict[str, Any]] = AutoModelForImageTextToText.from_pretrained(
            place,
            dtype=dtype,
            output_loading_info=True,
            local_files_only=True,
            # Reported by `load_lvlm` with the tensor's name, which transformers only logs.
            ignore_mismatched_sizes=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise Sim4SegError(f"the LVLM in {place.name} cannot be loaded: {lines[0]}") from None
    finally:
        transformers_logging.set_verbosity(verbosity)
    return loaded


def _read_part(kind: str, auto_class: Any, place: Path) -> Any:
    try:
        return auto_class.from_pretrained(place, local_files_only=True)
    except Exception:  # the tokenizers library raises nothing narrower
        raise Sim4SegError(f"the {kind} in {place.name} is missing or damaged") from None


def _merge_adapter(network: Any, adapter: Path) -> Any:
    try:
        from peft import PeftModel
    except ImportError:
        raise Sim4SegError(
            "this checkpoint has a LoRA adapter: pip install 'sim4seg[lora]'"
        ) from None
    try:
        return PeftModel.from_pretrained(network, adapter).merge_and_unload()
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise Sim4SegError(f"the adapter in {adapter} cannot be used: {lines[0]}") from None
