"""Sim4Seg: LVLM, RVLS2M and segmenter composed. Training and inference share this forward."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..frame import Frame, content_mask, relative_affine
from ..scaling_config import Calibration, ScalingConfig
from .evidence import EvidenceHeads
from .image_embedding import ImageEmbedding
from .layers import two_layers
from .lvlm import LVLM, LVLMConfig, VisionOutput
from .rvls2m import RVLS2M, MaskPrompt, RVLS2MConfig
from .segmenter import Segmenter, SegmenterConfig

if TYPE_CHECKING:
    from .familiarity import FamiliarityJudge
    from .volumetric_source import VolumetricSource

SAM_PIXEL_MEAN = (123.675, 116.28, 103.53)
SAM_PIXEL_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class DetailConfig:
    """Tiles for targets that are thin against the image, such as vessels.

    Attributes:
        side: the image is segmented as if its longest side had this many pixels; 0 never tiles.
        overlap: fraction of a tile that it shares with the next.
    """

    side: int = 0
    overlap: float = 0.25


@dataclass(frozen=True)
class Sim4SegConfig:
    """Everything that makes the network, apart from transformers' configuration of the LVLM.

    Attributes:
        diagnoses: labels that the checkpoint was taught; answers choose among them. Empty:
            the diagnosis is decoded freely.
        diagnosis_head_weight: how much the diagnosis head counts against the language model,
            in a weighted mean of their log-probabilities.
        presence_threshold: a finding below this probability gives an empty mask.
        mask_threshold: pixels above this probability belong to the mask.
        chain_of_thought: answers reason before they name the diagnosis; False to ablate it.
        seg_after_reasoning: [SEG] is said between the reasoning and the diagnosis, so that the mask
            depends on the words; such a model cannot read volumes. To ablate the order.
        scaling: answers and masks of a query that asks for no number of its own.
        calibration: what probabilities are divided by before people read them.
    """

    lvlm: LVLMConfig = field(default_factory=LVLMConfig)
    rvls2m: RVLS2MConfig = field(default_factory=RVLS2MConfig)
    segmenter: SegmenterConfig = field(default_factory=SegmenterConfig)
    detail: DetailConfig = field(default_factory=DetailConfig)
    diagnoses: tuple[str, ...] = ()
    diagnosis_head_weight: float = 0.5
    presence_threshold: float = 0.5
    mask_threshold: float = 0.5
    chain_of_thought: bool = True
    seg_after_reasoning: bool = False
    scaling: ScalingConfig = field(default_factory=ScalingConfig)
    calibration: Calibration = field(default_factory=Calibration)

    @property
    def mask_threshold_logit(self) -> float:
        """`mask_threshold` as a logit, to compare masks with before they are probabilities."""
        return math.log(self.mask_threshold / (1 - self.mask_threshold))


@dataclass
class FramePair:
    """How a batch of LVLM frames and SAM frames of the same images relate.

    Attributes:
        theta: (B, 2, 3) affine from SAM's frame to the LVLM's.
        lvlm_valid: bool (B, gh, gw), tokens that see the image.
        sam_valid: bool (B, P, P), prompt cells that show the image.
        sam_content: (B, 2), height and width in SAM's pixels that show the image.
    """

    theta: Tensor
    lvlm_valid: Tensor
    sam_valid: Tensor
    sam_content: Tensor

    @classmethod
    def of(
        cls, lvlm: list[Frame], sam: list[Frame], token_grid: int, prompt_size: int
    ) -> FramePair:
        """Relate frames pairwise."""
        return cls(
            torch.stack([relative_affine(a, b) for a, b in zip(lvlm, sam, strict=True)]),
            torch.stack([content_mask(frame, token_grid) for frame in lvlm]),
            torch.stack([content_mask(frame, prompt_size) for frame in sam]),
            torch.tensor([frame.content for frame in sam]),
        )

    def to(self, device: torch.device) -> FramePair:
        """The same on another device."""
        return FramePair(
            self.theta.to(device),
            self.lvlm_valid.to(device),
            self.sam_valid.to(device),
            self.sam_content.to(device),
        )


@dataclass
class ImageTokens:
    """The LVLM's image tokens, as a query is compared with them.

    Attributes:
        features: (B, N, D) that enter the language model.
        embeddings: (B, gh, gw, C), its hidden states of them in RVLS2M's space.
    """

    features: Tensor
    embeddings: Tensor

    def expand(self, count: int) -> ImageTokens:
        """One image's tokens as a batch."""
        return ImageTokens(
            self.features.expand(count, -1, -1), self.embeddings.expand(count, -1, -1, -1)
        )


@dataclass
class Evidence:
    """What the image says of the target besides its mask.

    Attributes:
        similarity: (B, gh, gw) of [SEG] and image tokens.
        presence_logits: (B,), the target is in the image.
        diagnosis_logits: (B, labels) of the diagnosis head.
    """

    similarity: Tensor
    presence_logits: Tensor
    diagnosis_logits: Tensor


@dataclass
class Drawing:
    """Masks, and the prompt that they were drawn with.

    Attributes:
        mask_logits: (B, 1 + multimask, P, P) in SAM's frame.
        iou: (B, 1 + multimask) estimated by the decoder.
        prompt: RVLS2M's.
        seg_embedding: (B, C) of [SEG], SAM's sparse prompt.
        similarity: (B, gh, gw) that the prompt was made of.
    """

    mask_logits: Tensor
    iou: Tensor
    prompt: MaskPrompt
    seg_embedding: Tensor
    similarity: Tensor


@dataclass
class Grounding(Drawing):
    """What the [SEG] state means in the image.

    Attributes:
        presence_logits: (B,), the target is in the image.
        diagnosis_logits: (B, labels) of the diagnosis head.
        detail_logits: (B,), the target is thin and wants tiles.
    """

    presence_logits: Tensor
    diagnosis_logits: Tensor
    detail_logits: Tensor


@dataclass
class TeacherForced:
    """Output of the training forward.

    Attributes:
        token_logits: (B, T, vocabulary) predicting the token after each of `text_ids`.
    """

    token_logits: Tensor
    grounding: Grounding


class Sim4SegModel(nn.Module):
    """The composition. Build it with `checkpoint.load_model` or `build.build_model`."""

    def __init__(self, config: Sim4SegConfig, lvlm: LVLM, segmenter: Segmenter) -> None:
        super().__init__()
        self.config = config
        self.lvlm = lvlm
        self.segmenter = segmenter
        self.rvls2m = RVLS2M(config.rvls2m)
        width, embed_dim = lvlm.hidden_size, config.segmenter.embed_dim
        self.projection = two_layers(width, width, embed_dim)
        self.evidence_heads = EvidenceHeads(width, embed_dim, len(config.diagnoses))
        self.detail_head = two_layers(width, embed_dim, 1)
        self.volumetric: VolumetricSource | None = None
        """Reads the network of mode `volume`; None if the checkpoint has none."""
        self.familiarity: FamiliarityJudge | None = None
        """Tells images apart that are unlike all training images; None if it cannot."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.rvls2m.scale.device

    def sam_embedding(
        self,
        images: Tensor | None,
        vision: VisionOutput | None,
        content: Tensor | None = None,
    ) -> ImageEmbedding:
        """Image embedding for the mask decoder.

        Args:
            images: uint8 (B, 3, S, S) in SAM's frame; None if it equals the LVLM's.
            vision: the LVLM's pass over the same pixels, whose features are then reused.
            content: (B, 2) height and width in SAM's pixels that show the image; None for all.
                SAM's own ViT wants 0 beyond, after normalisation.
        """
        if self.config.segmenter.encoder == "shared":
            if images is None:
                assert vision is not None and vision.feature_maps is not None
                maps = vision.feature_maps
            else:
                pixels = self.lvlm.normalise(images)["pixel_values"]
                maps = self.lvlm.vision_tower.feature_maps(pixels)
            shared: ImageEmbedding = self.segmenter.image_encoder(maps)
            return shared
        assert images is not None
        dtype = next(self.segmenter.parameters()).dtype
        mean = torch.tensor(SAM_PIXEL_MEAN, device=images.device)[:, None, None]
        std = torch.tensor(SAM_PIXEL_STD, device=images.device)[:, None, None]
        pixels = (images - mean) / std
        if content is not None:
            pixels = pixels * _shown(content.to(pixels.device), pixels.shape[-1])
        encoded = self.segmenter.image_encoder(pixels.to(self.device, dtype))
        return encoded if isinstance(encoded, ImageEmbedding) else ImageEmbedding(encoded)

    def _embeddings_of_rows(
        self, images: Tensor | None, rows: Tensor | None, vision: VisionOutput, content: Tensor
    ) -> ImageEmbedding:
        if images is None or rows is None or len(rows) == len(content):
            return self.sam_embedding(images, vision, content)
        own = self.sam_embedding(images, None, content[rows])
        return self.sam_embedding(None, vision).with_rows(rows, own)

    def image_tokens(self, vision: VisionOutput, image_states: Tensor) -> ImageTokens:
        """Image tokens for `ground`, from their hidden states (B, N, D)."""
        embeddings: Tensor = self.projection(image_states)
        return ImageTokens(vision.features, embeddings.unflatten(1, vision.token_grid))

    def ground(
        self,
        seg_state: Tensor,
        image_tokens: ImageTokens,
        image_embedding: ImageEmbedding,
        frames: FramePair,
        prompted: Tensor | None = None,
    ) -> Grounding:
        """From the [SEG] state to masks.

        Args:
            seg_state: (B, D) hidden state of [SEG].
            image_tokens: of the same batch.
            image_embedding: of the frames' SAM side.
            frames: of the same batch.
            prompted: (B,) of 0 or 1, whose masks are drawn with RVLS2M's prompt; None for all.
        """
        evidence = self.weigh(seg_state, image_tokens, frames)
        drawing = self.draw(seg_state, evidence.similarity, image_embedding, frames, prompted)
        return Grounding(
            mask_logits=drawing.mask_logits,
            iou=drawing.iou,
            prompt=drawing.prompt,
            seg_embedding=drawing.seg_embedding,
            similarity=drawing.similarity,
            presence_logits=evidence.presence_logits,
            diagnosis_logits=evidence.diagnosis_logits,
            detail_logits=self.detail_head(seg_state)[:, 0].float(),
        )

    def weigh(self, seg_state: Tensor, image_tokens: ImageTokens, frames: FramePair) -> Evidence:
        """The evidence alone, without drawing; arguments as in `ground`."""
        similarity = self.compare(seg_state, image_tokens.embeddings)
        presence, diagnosis = self.evidence_heads(
            seg_state, image_tokens.features, similarity, frames.lvlm_valid
        )
        return Evidence(similarity, presence, diagnosis)

    def compare(self, seg_state: Tensor, embeddings: Tensor) -> Tensor:
        """Similarity (B, gh, gw) of [SEG] states (B, D) and `ImageTokens.embeddings`, alone."""
        return self.rvls2m.similarity(self.projection(seg_state), embeddings)

    def draw(
        self,
        seg_state: Tensor,
        similarity: Tensor,
        image_embedding: ImageEmbedding,
        frames: FramePair,
        prompted: Tensor | None = None,
    ) -> Drawing:
        """The masks alone, where the similarity (B, gh, gw) is known; see `ground`."""
        prompt = self.rvls2m(similarity, frames.lvlm_valid, frames.theta, frames.sam_valid)
        mask_prompt = None
        if self.config.rvls2m.mode != "none":
            mask_prompt = prompt.logits.to(image_embedding.coarse.dtype)
            if prompted is not None:
                mask_prompt = mask_prompt * prompted.to(mask_prompt)[:, None, None, None]
        seg_embedding = self.projection(seg_state)
        masks = self.segmenter(image_embedding, seg_embedding[:, None], mask_prompt)
        return Drawing(masks.mask_logits, masks.iou, prompt, seg_embedding, similarity)

    def forward(
        self,
        lvlm_images: Tensor,
        sam_images: Tensor | None,
        sam_rows: Tensor | None,
        text_ids: Tensor,
        seg_positions: Tensor,
        frames: FramePair,
        sam_embedding: ImageEmbedding | None = None,
        prompted: Tensor | None = None,
    ) -> TeacherForced:
        """Teacher-forced pass over query and answer.

        Args:
            lvlm_images: uint8 (B, 3, S, S).
            sam_images: uint8 (R, 3, S', S'), or None where SAM sees the LVLM's pixels.
            sam_rows: (R,) rows of the batch that `sam_images` belong to; None for all.
            text_ids: (B, T) ids after the image prefix, right-padded.
            seg_positions: (B,) index of [SEG] in `text_ids`.
            frames: how the two images of each pair relate.
            sam_embedding: of the SAM images, where it was computed before.
            prompted: see `ground`.
        """
        vision = self.lvlm.see(lvlm_images)
        prefix = torch.tensor(self.lvlm.prefix_ids(vision), device=text_ids.device)
        ids = torch.cat([prefix.expand(len(text_ids), -1), text_ids], dim=1)
        states, _ = self.lvlm.hidden_states(ids, vision)
        image_states = states[:, len(prefix) - vision.token_count : len(prefix)]
        text_states = states[:, len(prefix) :]
        rows = torch.arange(len(text_ids), device=text_ids.device)
        if sam_embedding is None:
            sam_embedding = self._embeddings_of_rows(
                sam_images, sam_rows, vision, frames.sam_content
            )
        grounding = self.ground(
            text_states[rows, seg_positions],
            self.image_tokens(vision, image_states),
            sam_embedding,
            frames,
            prompted,
        )
        return TeacherForced(self.lvlm.logits(text_states), grounding)


def _shown(content: Tensor, side: int) -> Tensor:
    """(B, 2) heights and widths to (B, 1, side, side), one where the image is shown."""
    places = torch.arange(side, device=content.device)
    rows = places < content[:, :1]
    columns = places < content[:, 1:]
    return (rows[:, None, :, None] & columns[:, None, None, :]).float()
