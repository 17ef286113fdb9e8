"""Batches of slices to masks and presence, with a [SEG] state that was said elsewhere.

The language model reads every slice once, because RVLS2M compares [SEG] with its states of the
image tokens; it reads the query only on scouts and answers only on key slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..modeling.answer import OPENING, SEG_TOKEN
from ..modeling.image_embedding import ImageEmbedding
from ..modeling.lvlm import VisionOutput
from ..modeling.precision import fast_precision
from ..modeling.sim4seg import FramePair, ImageTokens, Sim4SegModel
from .slices import SlicePictures


@dataclass
class Scouted:
    """What the language model makes of the query on a batch of slices.

    Attributes:
        seg_states: (B, D).
        presence_logits: float32 (B,).
    """

    seg_states: Tensor
    presence_logits: Tensor


@dataclass
class SliceEvidence:
    """What a batch of slices says of the target.

    Attributes:
        presence_logits: float32 (B,).
        mask_logits: float16 (B, P, P) in SAM's frame.
    """

    presence_logits: Tensor
    mask_logits: Tensor


class SliceGrounder:
    """The model's public parts, called for batches of slices of one volume."""

    def __init__(self, model: Sim4SegModel, pictures: SlicePictures, query: str) -> None:
        config, lvlm = model.config, model.lvlm
        self.model = model
        self.pictures = pictures
        self.lvlm_frame = pictures.frame(config.lvlm.image_size)
        self.sam_frame = pictures.frame(config.segmenter.image_size)
        self._is_shared = config.segmenter.encoder == "shared" and self.sam_frame == self.lvlm_frame
        opening = lvlm.encode(OPENING)
        query_ids = lvlm.query_ids(query)
        seg_id = int(lvlm.tokenizer.convert_tokens_to_ids(SEG_TOKEN))
        self._text_ids = query_ids + opening
        self._seg_place = len(query_ids) + opening.index(seg_id)

    @torch.inference_mode()
    def scout(self, numbers: Sequence[int]) -> Scouted:
        """Read the query on each of the slices; nothing is drawn."""
        with fast_precision(self.model.rvls2m.scale):
            vision, image_tokens, text_states = self._read(numbers, self._text_ids)
            seg_states = text_states[:, self._seg_place]
            frames = self._frames(len(numbers), vision.token_grid[0])
            evidence = self.model.weigh(seg_states, image_tokens, frames)
        return Scouted(seg_states.float().cpu(), evidence.presence_logits.cpu())

    @torch.inference_mode()
    def ground(self, numbers: Sequence[int], seg_state: Tensor) -> SliceEvidence:
        """Ground the slices with one [SEG] state (D,) for all."""
        model = self.model
        with fast_precision(model.rvls2m.scale):
            vision, image_tokens, _ = self._read(numbers, [])
            grounding = model.ground(
                seg_state.to(image_tokens.features).expand(len(numbers), -1),
                image_tokens,
                model.sam_embedding(None, vision) if self._is_shared else self._embed(numbers),
                self._frames(len(numbers), vision.token_grid[0]),
            )
        return SliceEvidence(
            grounding.presence_logits.cpu(), grounding.mask_logits[:, 0].half().cpu()
        )

    def _read(
        self, numbers: Sequence[int], text_ids: list[int]
    ) -> tuple[VisionOutput, ImageTokens, Tensor]:
        """The LVLM's view of slices, its image tokens, and its states (B, T, D) of the text."""
        lvlm = self.model.lvlm
        vision = lvlm.see(self.pictures.framed(numbers, self.lvlm_frame).to(self.model.device))
        prefix = lvlm.prefix_ids(vision)
        ids = torch.tensor([prefix + text_ids], device=self.model.device)
        states, _ = lvlm.hidden_states(ids.expand(len(numbers), -1), vision)
        image_states = states[:, len(prefix) - vision.token_count : len(prefix)]
        return vision, self.model.image_tokens(vision, image_states), states[:, len(prefix) :]

    def _embed(self, numbers: Sequence[int]) -> ImageEmbedding:
        images = self.pictures.framed(numbers, self.sam_frame).to(self.model.device)
        content = torch.tensor([self.sam_frame.content] * len(numbers))
        return self.model.sam_embedding(images, None, content)

    def _frames(self, count: int, token_grid: int) -> FramePair:
        pair = FramePair.of(
            [self.lvlm_frame] * count,
            [self.sam_frame] * count,
            token_grid,
            self.model.config.segmenter.prompt_size,
        )
        return pair.to(self.model.device)
