"""SAM's prompt encoder and mask decoder around either of two image encoders.

The modules are segment-anything's own (Kirillov et al., arXiv 2304.02643) with their parameter
names, so that `sam_vit_*.pth` loads. The [SEG] embedding enters as one more sparse prompt.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Literal

import torch
import torch.nn.functional as F
from segment_anything import sam_model_registry
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from torch import Tensor, nn

from ..errors import Sim4SegError
from .compact_encoder import CompactEncoder
from .conditioning import ConditionedPyramid, QueryConditioning
from .image_embedding import ImageEmbedding
from .prompt_attention import lay_out_attention
from .vision import STRIDES

SAM_ENCODERS = ("vit_b", "vit_l", "vit_h")


@dataclass(frozen=True)
class SegmenterConfig:
    """Sizes of the segmenter.

    Attributes:
        encoder: `compact` is a small one of its own, whose levels the query steers; `shared`
            takes the features of the LVLM's vision tower; `vit_b`, `vit_l` and `vit_h` are
            segment-anything's (and bring that library's sizes).
        image_size: side of the padded square input in pixels.
        embedding_stride: pixels of the input per cell of the image embedding.
        embed_dim: channels of embedding and prompts.
        query_conditioning: [SEG] steers convolutions between a shared encoder and SAM's decoder,
            which its published weights do not have.
        compact_channels: of the compact encoder's stages, at strides 4, 8, 16 and 32.
        compact_depths: residual blocks of each.
    """

    encoder: Literal["compact", "shared", "vit_b", "vit_l", "vit_h"] = "shared"
    image_size: int = 256
    embedding_stride: int = 4
    embed_dim: int = 128
    mask_in_channels: int = 16
    transformer_depth: int = 2
    transformer_heads: int = 8
    transformer_mlp_dim: int = 512
    iou_head_hidden_dim: int = 128
    num_multimask_outputs: int = 3
    query_conditioning: bool = False
    compact_channels: tuple[int, ...] = (32, 64, 96, 128)
    compact_depths: tuple[int, ...] = (1, 2, 2, 1)

    @classmethod
    def for_sam(cls, encoder: Literal["vit_b", "vit_l", "vit_h"]) -> SegmenterConfig:
        """segment-anything's published sizes."""
        return cls(
            encoder=encoder,
            image_size=1024,
            embedding_stride=16,
            embed_dim=256,
            transformer_mlp_dim=2048,
            iou_head_hidden_dim=256,
        )

    @property
    def prompt_size(self) -> int:
        """Side of the mask-prompt grid and of the low-resolution masks."""
        return 4 * (self.image_size // self.embedding_stride)


@dataclass
class SegmenterOutput:
    """SAM's masks.

    Attributes:
        mask_logits: (B, 1 + multimask, P, P); index 0 is the single-mask output.
        iou: (B, 1 + multimask), the decoder's own estimate of each mask's IoU.
    """

    mask_logits: Tensor
    iou: Tensor


class PairedMaskDecoder(MaskDecoder):
    """SAM's decoder for a batch of different images, each with its own prompts.

    The original repeats one image for many prompts. Given a batch, one repetition per prompt
    would pair every image with every prompt, so the batch dimension of the prompts is hidden
    from it: images run side by side with the prompts they belong to. Parameters and results
    are the original's (a test compares them).
    """

    def __init__(
        self,
        *,
        transformer_dim: int,
        transformer: nn.Module,
        num_multimask_outputs: int = 3,
        iou_head_hidden_dim: int = 256,
        conditioning: QueryConditioning | ConditionedPyramid | None = None,
    ) -> None:
        super().__init__(
            transformer_dim=transformer_dim,
            transformer=transformer,
            num_multimask_outputs=num_multimask_outputs,
            iou_head_hidden_dim=iou_head_hidden_dim,
        )
        self.conditioning = conditioning

    def predict_masks(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
        fine_embeddings: Tensor | None = None,
        context: tuple[Tensor, ...] = (),
        query: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """All masks and IoU estimates; shapes as in `SegmenterOutput`.

        Args:
            fine_embeddings: as in `ImageEmbedding`.
            context: as in `ImageEmbedding`.
            query: (B, C) that steers the image, where there is conditioning.
        """
        batch = len(sparse_prompt_embeddings)
        own_tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([own_tokens.expand(batch, -1, -1), sparse_prompt_embeddings], dim=1)
        source = image_embeddings + dense_prompt_embeddings
        if self.conditioning is not None and query is not None:
            source = self.conditioning.steer(source, context, query)
        states, source = self.transformer(source, image_pe.expand(batch, -1, -1, -1), tokens)
        source = source.transpose(1, 2).unflatten(2, dense_prompt_embeddings.shape[-2:])
        upscaled = self._upscale(source, fine_embeddings, query)
        weights = torch.stack(
            [mlp(states[:, 1 + index]) for index, mlp in enumerate(self.output_hypernetworks_mlps)],
            dim=1,
        )
        masks = torch.einsum("bmc,bchw->bmhw", weights, upscaled)
        return masks, self.iou_prediction_head(states[:, 0])

    def _upscale(
        self, source: Tensor, fine_embeddings: Tensor | None, query: Tensor | None
    ) -> Tensor:
        if fine_embeddings is None:
            return self.output_upscaling(source)
        first_up, norm, activation, *rest = self.output_upscaling
        upscaled = activation(norm(first_up(source) + fine_embeddings))
        if self.conditioning is not None and query is not None:
            upscaled = self.conditioning.fine(upscaled, query)
        for layer in rest:
            upscaled = layer(upscaled)
        return upscaled


class CompactNeck(nn.Module):
    """Feature pyramid (Lin et al., arXiv 1612.03144) from a shared encoder to SAM's embedding."""

    def __init__(self, stage_channels: list[int], embed_dim: int, stride: int) -> None:
        super().__init__()
        self.skipped = STRIDES.index(stride)
        if self.skipped:
            self.fine = nn.Conv2d(stage_channels[self.skipped - 1], embed_dim // 4, 1)
            for parameter in self.fine.parameters():
                nn.init.zeros_(parameter)
        stage_channels = stage_channels[self.skipped :]
        self.laterals = nn.ModuleList(nn.Conv2d(width, embed_dim, 1) for width in stage_channels)
        self.smooth = nn.Sequential(
            nn.Conv2d(embed_dim, embed_dim, 3, padding=1, bias=False),
            nn.GroupNorm(8, embed_dim),
            nn.ReLU(),
            nn.Conv2d(embed_dim, embed_dim, 1),
        )

    def forward(self, feature_maps: tuple[Tensor, ...]) -> ImageEmbedding:
        """Features at strides 4, 8, 16, 32 to the image embedding."""
        fine = self.fine(feature_maps[self.skipped - 1]) if self.skipped else None
        feature_maps = feature_maps[self.skipped :]
        merged = self.laterals[-1](feature_maps[-1])
        for lateral, features in zip(
            reversed(self.laterals[:-1]), reversed(feature_maps[:-1]), strict=True
        ):
            merged = F.interpolate(merged, size=features.shape[-2:], mode="nearest")
            merged = merged + lateral(features)
        return ImageEmbedding(self.smooth(merged), fine)


class Segmenter(nn.Module):
    """Image embedding, [SEG] embedding and mask prompt to masks."""

    def __init__(
        self,
        config: SegmenterConfig,
        image_encoder: nn.Module,
        prompt_encoder: PromptEncoder,
        mask_decoder: PairedMaskDecoder,
    ) -> None:
        super().__init__()
        self.config = config
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder

    def forward(
        self, image_embedding: ImageEmbedding, seg_embedding: Tensor, mask_prompt: Tensor | None
    ) -> SegmenterOutput:
        """Decode masks.

        Args:
            image_embedding: of B images.
            seg_embedding: (B, K, C) sparse prompts.
            mask_prompt: (B, 1, 4h, 4w) logits, or None for SAM's learned "no mask".
        """
        # A view with shared parameters: the sizes are plain attributes of the library's module.
        encoder = copy.copy(self.prompt_encoder)
        encoder.image_embedding_size = tuple(image_embedding.coarse.shape[-2:])
        points, dense = encoder(points=None, boxes=None, masks=mask_prompt)
        batch = len(image_embedding.coarse)
        sparse = torch.cat([points.expand(batch, -1, -1).to(seg_embedding), seg_embedding], dim=1)
        masks, iou = self.mask_decoder.predict_masks(
            image_embeddings=image_embedding.coarse,
            image_pe=encoder.get_dense_pe().to(image_embedding.coarse),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense.expand(batch, -1, -1, -1),
            fine_embeddings=image_embedding.fine,
            context=image_embedding.context,
            query=seg_embedding[:, -1] if seg_embedding.shape[1] else None,
        )
        return SegmenterOutput(masks, iou)


def build_segmenter(config: SegmenterConfig, stage_channels: list[int] | None) -> Segmenter:
    """Wire a segmenter.

    Args:
        config: its sizes.
        stage_channels: of the shared vision tower; None with a ViT of its own.
    """
    grid = config.image_size // config.embedding_stride
    image_encoder = _build_image_encoder(config, stage_channels)
    prompt_encoder = PromptEncoder(
        embed_dim=config.embed_dim,
        image_embedding_size=(grid, grid),
        input_image_size=(config.image_size, config.image_size),
        mask_in_chans=config.mask_in_channels,
    )
    mask_decoder = PairedMaskDecoder(
        transformer_dim=config.embed_dim,
        transformer=lay_out_attention(
            TwoWayTransformer(
                depth=config.transformer_depth,
                embedding_dim=config.embed_dim,
                num_heads=config.transformer_heads,
                mlp_dim=config.transformer_mlp_dim,
            )
        ),
        num_multimask_outputs=config.num_multimask_outputs,
        iou_head_hidden_dim=config.iou_head_hidden_dim,
        conditioning=_build_conditioning(config),
    )
    return Segmenter(config, image_encoder, prompt_encoder, mask_decoder)


def _build_image_encoder(config: SegmenterConfig, stage_channels: list[int] | None) -> nn.Module:
    width, stride = config.embed_dim, config.embedding_stride
    if config.encoder == "compact":
        return CompactEncoder(config.compact_channels, config.compact_depths, width, stride)
    if config.encoder == "shared":
        if stage_channels is None:
            raise Sim4SegError(
                "the segmenter is set to share the vision tower's features, but this LVLM's tower "
                "gives none; set segmenter.encoder to compact, vit_b, vit_l or vit_h"
            )
        return CompactNeck(stage_channels, width, stride)
    image_encoder: nn.Module = sam_model_registry[config.encoder]().image_encoder
    return image_encoder


def _build_conditioning(
    config: SegmenterConfig,
) -> QueryConditioning | ConditionedPyramid | None:
    if config.encoder == "compact":
        levels = len(STRIDES) - STRIDES.index(config.embedding_stride)
        return ConditionedPyramid(config.embed_dim, levels)
    return QueryConditioning(config.embed_dim) if config.query_conditioning else None


def load_sam_checkpoint(segmenter: Segmenter, path: str | Path) -> None:
    """Load a published `sam_vit_*.pth` into a segmenter built with the same ViT.

    Raises:
        Sim4SegError: if the file cannot be read, or its tensors do not fit.
    """
    try:
        state = dict(torch.load(Path(path), map_location="cpu", weights_only=True))
    except (OSError, EOFError, RuntimeError, TypeError, ValueError, UnpicklingError):
        raise Sim4SegError(f"{Path(path).name} cannot be read as weights of SAM") from None
    try:
        segmenter.load_state_dict(state)
    except RuntimeError as error:
        detail = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise Sim4SegError(
            f"{Path(path).name} does not fit {segmenter.config.encoder}: {detail}"
        ) from None
