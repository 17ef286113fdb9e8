"""Wires new, untrained models: the compact one, and any LLaVA-type network with any SAM."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import (
    CLIPImageProcessor,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerBase,
)

from .answer import IMAGE_TOKEN, SEG_TOKEN
from .lvlm import LVLM
from .segmenter import build_segmenter
from .sim4seg import Sim4SegConfig, Sim4SegModel
from .vision import CompactVisionConfig, register


@dataclass(frozen=True)
class CompactLVLMConfig:
    """Sizes of a small LLaVA whose vision tower the segmenter shares."""

    stage_channels: tuple[int, ...] = (64, 128, 256, 256)
    stage_depths: tuple[int, ...] = (2, 2, 2, 1)
    vision_hidden_size: int = 256
    hidden_size: int = 192
    intermediate_size: int = 512
    layers: int = 4
    heads: int = 6
    max_positions: int = 1024


def build_compact_lvlm(
    sizes: CompactLVLMConfig, config: Sim4SegConfig, tokenizer: PreTrainedTokenizerBase
) -> LVLM:
    """A LLaVA of transformers' own classes with the compact vision tower, random weights.

    The tokenizer must hold [SEG] and the image token.
    """
    register()
    vision = CompactVisionConfig(
        stage_channels=list(sizes.stage_channels),
        stage_depths=list(sizes.stage_depths),
        hidden_size=sizes.vision_hidden_size,
        image_size=config.lvlm.image_size,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=sizes.hidden_size,
        intermediate_size=sizes.intermediate_size,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.heads,
        max_position_embeddings=sizes.max_positions,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    grid = config.lvlm.image_size // vision.patch_size
    network = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=vision,
            text_config=text,
            image_token_index=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
            image_seq_length=grid * grid,
            vision_feature_layer=-1,
            vision_feature_select_strategy="full",
            tie_word_embeddings=True,
        )
    )
    side = {"height": config.lvlm.image_size, "width": config.lvlm.image_size}
    processor = CLIPImageProcessor(do_resize=False, do_center_crop=False, size=side, crop_size=side)
    return LVLM(config.lvlm, network, tokenizer, processor)


def build_model(config: Sim4SegConfig, lvlm: LVLM) -> Sim4SegModel:
    """Join an LVLM with a new segmenter and new heads; teaches the tokenizer [SEG] if need be."""
    if SEG_TOKEN not in lvlm.tokenizer.get_vocab():
        lvlm.tokenizer.add_special_tokens({"additional_special_tokens": [SEG_TOKEN]})
        if len(lvlm.tokenizer) > lvlm.network.get_input_embeddings().num_embeddings:
            lvlm.network.resize_token_embeddings(len(lvlm.tokenizer))
    segmenter = build_segmenter(config.segmenter, lvlm.stage_channels)
    return Sim4SegModel(config, lvlm, segmenter)
