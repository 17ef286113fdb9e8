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
from ..modeling.precision import fast_precision
from ..modeling.sim4seg import FramePair, Grounding, ImageTokens, Sim4SegModel
from .slices import SlicePictures


@dataclass
class SliceEvidence:
    """What a batch of slices says of the target.

    Attributes:
        seg_states: (B, D) that the masks were asked with.
        presence_logits: float32 (B,).
        mask_logits: float16 (B, P, P) in SAM's frame.
    """

    seg_states: Tensor
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
    def scout(self, numbers: Sequence[int]) -> SliceEvidence:
        """Read the query on each of the slices and ground each with its own [SEG]."""
        with fast_precision(self.model.rvls2m.scale):
            return self._evidence(numbers, None)

    @torch.inference_mode()
    def ground(self, numbers: Sequence[int], seg_state: Tensor) -> SliceEvidence:
        """Ground the slices with one [SEG] state (D,) for all."""
        with fast_precision(self.model.rvls2m.scale):
            return self._evidence(numbers, seg_state)

    def _evidence(self, numbers: Sequence[int], seg_state: Tensor | None) -> SliceEvidence:
        model, count = self.model, len(numbers)
        lvlm_images = self.pictures.framed(numbers, self.lvlm_frame).to(model.device)
        vision = model.lvlm.see(lvlm_images)
        prefix = model.lvlm.prefix_ids(vision)
        ids = prefix if seg_state is not None else prefix + self._text_ids
        tokens = torch.tensor([ids], device=model.device).expand(count, -1)
        states, _ = model.lvlm.hidden_states(tokens, vision)
        image_states = states[:, len(prefix) - vision.token_count : len(prefix)]
        if seg_state is None:
            seg_states = states[:, len(prefix) + self._seg_place]
        else:
            seg_states = seg_state.to(states).expand(count, -1)
        grounding = self._ground(
            numbers,
            seg_states,
            model.image_tokens(vision, image_states),
            model.sam_embedding(None, vision) if self._is_shared else self._embed(numbers),
            vision.token_grid[0],
        )
        return SliceEvidence(
            seg_states.float().cpu(),
            grounding.presence_logits.cpu(),
            grounding.mask_logits[:, 0].half().cpu(),
        )

    def _embed(self, numbers: Sequence[int]) -> ImageEmbedding:
        images = self.pictures.framed(numbers, self.sam_frame).to(self.model.device)
        content = torch.tensor([self.sam_frame.content] * len(numbers))
        return self.model.sam_embedding(images, None, content)

    def _ground(
        self,
        numbers: Sequence[int],
        seg_states: Tensor,
        image_tokens: ImageTokens,
        embedding: ImageEmbedding,
        token_grid: int,
    ) -> Grounding:
        pair = FramePair.of(
            [self.lvlm_frame] * len(numbers),
            [self.sam_frame] * len(numbers),
            token_grid,
            self.model.config.segmenter.prompt_size,
        )
        return self.model.ground(seg_states, image_tokens, embedding, pair.to(self.model.device))
