"""Tiny models with random weights: the compact one, a LLaVA and a Qwen2-VL, and a small SAM."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from segment_anything import sam_model_registry
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
)

from Sim4SegCore.frame import Frame
from Sim4SegCore.modeling.answer import IMAGE_TOKEN, OPENING, SEG_TOKEN, STEP_LEADS, PromptStyle
from Sim4SegCore.modeling.build import CompactLVLMConfig, build_compact_lvlm, build_model
from Sim4SegCore.modeling.generation import AnswerDecoder, Generated
from Sim4SegCore.modeling.lvlm import LVLMConfig
from Sim4SegCore.modeling.lvlm_loading import QWEN_PROMPT, load_lvlm
from Sim4SegCore.modeling.segmenter import SegmenterConfig
from Sim4SegCore.modeling.sim4seg import FramePair, Sim4SegConfig, Sim4SegModel

SIDE = 64
QUERY = "Is there a polyp? Segment it."
DIAGNOSES = ("polyp", "no abnormality", "benign breast mass")
OWN_VIT = SegmenterConfig(
    encoder="vit_b",
    image_size=SIDE,
    embedding_stride=16,
    embed_dim=32,
    transformer_mlp_dim=32,
    iou_head_hidden_dim=16,
)
SHARED_ENCODER = SegmenterConfig(
    image_size=SIDE, embed_dim=32, transformer_mlp_dim=32, iou_head_hidden_dim=16
)
OWN_ENCODER = replace(
    SHARED_ENCODER,
    encoder="compact",
    embedding_stride=8,
    compact_channels=(16, 16, 16, 24),
    compact_depths=(1, 1, 1, 1),
)
COMPACT = CompactLVLMConfig(
    stage_channels=(8, 16, 16, 16),
    stage_depths=(1, 1, 1, 1),
    vision_hidden_size=16,
    hidden_size=32,
    intermediate_size=64,
    layers=2,
    heads=2,
    max_positions=512,
)
LLAVA_SPECIALS = ["<pad>", "<s>", "</s>", IMAGE_TOKEN]
QWEN_SPECIALS = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]


def tokenizer(specials: list[str], **roles: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE that has merged a few words of answers."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    sentences = [OPENING.replace(SEG_TOKEN, ""), *STEP_LEADS, *DIAGNOSES, QUERY]
    trained.train_from_iterator(sentences * 4, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=trained,
        additional_special_tokens=specials,
        clean_up_tokenization_spaces=False,
        **roles,
    )


def llava_tokenizer(extra: tuple[str, ...] = ()) -> PreTrainedTokenizerFast:
    specials = [*LLAVA_SPECIALS, *extra]
    return tokenizer(specials, pad_token="<pad>", bos_token="<s>", eos_token="</s>")


def spread_weights(network: nn.Module, seed: int = 0) -> None:
    """Weights large enough that every token and every position matters to the output."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 2:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(noise * 1.5 / parameter.shape[1] ** 0.5)


def write_llava(folder: Path, seed: int = 0) -> Path:
    """LLaVA as on the hub: CLIP tower with a class token, Llama text, no [SEG] yet."""
    words = llava_tokenizer()
    vision = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=16,
        projection_dim=16,
    )
    text = LlamaConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    image_token = words.convert_tokens_to_ids(IMAGE_TOKEN)
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=image_token)
    torch.manual_seed(seed)
    network = LlavaForConditionalGeneration(config)
    spread_weights(network, seed)
    network.save_pretrained(folder)
    words.save_pretrained(folder)
    side = {"height": 24, "width": 24}
    CLIPImageProcessor(size={"shortest_edge": 24}, crop_size=side).save_pretrained(folder)
    return folder


def write_qwen2_vl(folder: Path) -> Path:
    """Qwen2-VL as on the hub: merged 2x2 patches, three-dimensional positions, no bos."""
    words = tokenizer(QWEN_SPECIALS, pad_token="<|endoftext|>", eos_token="<|im_end|>")
    ids = dict(zip(QWEN_SPECIALS, words.convert_tokens_to_ids(QWEN_SPECIALS), strict=True))
    config = Qwen2VLConfig(
        vision_config={
            "depth": 2,
            "embed_dim": 16,
            "hidden_size": 32,
            "num_heads": 2,
            "mlp_ratio": 2,
            "patch_size": 8,
        },
        text_config={
            "vocab_size": len(words),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 512,
            "rope_parameters": {"rope_type": "default", "mrope_section": [4, 2, 2]},
            "bos_token_id": None,
            "eos_token_id": words.eos_token_id,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    torch.manual_seed(0)
    network = Qwen2VLForConditionalGeneration(config)
    spread_weights(network)
    network.save_pretrained(folder)
    words.save_pretrained(folder)
    Qwen2VLImageProcessor(patch_size=8).save_pretrained(folder)
    return folder


def small_vit() -> ImageEncoderViT:
    """segment-anything's ViT with windowed and global attention, 4 x 4 tokens."""
    vit = ImageEncoderViT(
        depth=2,
        embed_dim=32,
        img_size=SIDE,
        mlp_ratio=2,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        num_heads=2,
        patch_size=16,
        use_rel_pos=True,
        window_size=3,
        global_attn_indexes=(1,),
        out_chans=OWN_VIT.embed_dim,
    )
    nn.init.normal_(vit.pos_embed)
    return vit


def small_sam() -> Sam:
    """segment-anything's Sam in the sizes of `OWN_VIT`."""
    width, grid = OWN_VIT.embed_dim, SIDE // 16
    return Sam(
        image_encoder=small_vit(),
        prompt_encoder=PromptEncoder(width, (grid, grid), (SIDE, SIDE), 16),
        mask_decoder=MaskDecoder(
            transformer_dim=width,
            transformer=TwoWayTransformer(
                depth=2, embedding_dim=width, num_heads=8, mlp_dim=OWN_VIT.transformer_mlp_dim
            ),
            iou_head_hidden_dim=OWN_VIT.iou_head_hidden_dim,
        ),
    ).eval()


@contextmanager
def small_sam_registered() -> Iterator[None]:
    """While open, segment-anything's `vit_b` is the small one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sam_model_registry, "vit_b", small_sam)
        yield


def compact_model(
    diagnoses: tuple[str, ...] = DIAGNOSES,
    seed: int = 0,
    segmenter: SegmenterConfig = SHARED_ENCODER,
    **options: object,
) -> Sim4SegModel:
    """The compact LVLM; unless told otherwise, it shares its vision tower with the segmenter."""
    config = Sim4SegConfig(
        lvlm=LVLMConfig(image_size=SIDE),
        segmenter=segmenter,
        diagnoses=diagnoses,
        **options,  # type: ignore[arg-type]
    )
    torch.manual_seed(seed)
    lvlm = build_compact_lvlm(COMPACT, config, llava_tokenizer((SEG_TOKEN,)))
    spread_weights(lvlm.network, seed)
    return build_model(config, lvlm).eval().requires_grad_(False)


def model_from_folder(
    folder: Path, prompt: PromptStyle, diagnoses: tuple[str, ...] = DIAGNOSES
) -> Sim4SegModel:
    """A network that transformers saved, joined with a new small SAM."""
    config = Sim4SegConfig(
        lvlm=LVLMConfig(image_size=SIDE, prompt=prompt), segmenter=OWN_VIT, diagnoses=diagnoses
    )
    lvlm = load_lvlm(folder, config.lvlm)
    torch.manual_seed(0)
    with small_sam_registered():
        return build_model(config, lvlm).eval().requires_grad_(False)


def build(kind: str, folder: Path) -> Sim4SegModel:
    """A model of one of the families that `KINDS` names."""
    if kind == "compact":
        return compact_model()
    if kind == "own_encoder":
        return compact_model(segmenter=OWN_ENCODER)
    if kind == "llava":
        return model_from_folder(write_llava(folder), PromptStyle())
    return model_from_folder(write_qwen2_vl(folder), QWEN_PROMPT)


KINDS = ("compact", "own_encoder", "llava", "qwen2_vl")


def picture(seed: int, height: int = 40, width: int = 120) -> Tensor:
    """uint8 (3, height, width) noise; a third as high as wide unless told otherwise."""
    pixels = np.random.default_rng(seed).integers(1, 256, (3, height, width), dtype=np.uint8)
    return torch.from_numpy(pixels)


def framed(model: Sim4SegModel, image: Tensor) -> tuple[Tensor, Tensor, FramePair]:
    """An image as LVLM and SAM see it, each with a batch of one, and how the two relate."""
    size = (image.shape[1], image.shape[2])
    lvlm = Frame.longest_side(size, model.config.lvlm.image_size)
    sam = Frame.longest_side(size, model.config.segmenter.image_size)
    grid = model.lvlm.see(lvlm.apply(image)[None]).token_grid[0]
    pair = FramePair.of([lvlm], [sam], grid, model.config.segmenter.prompt_size)
    return lvlm.apply(image)[None], sam.apply(image)[None], pair


@torch.no_grad()
def answer(model: Sim4SegModel, image: Tensor, query: str = QUERY) -> Generated:
    """Decode with the image prefix in a cache, as the predictor does."""
    lvlm_image, _, _ = framed(model, image)
    vision = model.lvlm.see(lvlm_image)
    prefix = torch.tensor([model.lvlm.prefix_ids(vision)])
    _, cache = model.lvlm.hidden_states(prefix, vision, use_cache=True)
    return decode(AnswerDecoder(model.lvlm, model.config.diagnoses), query, cache)


def decode(decoder: AnswerDecoder, query: str, cache: object) -> Generated:
    """A whole answer by the language model alone."""
    return decoder.complete(decoder.open(query, cache))
