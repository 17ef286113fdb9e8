"""Batches of slices, read by the LVLM or drawn by the segmenter, with a [SEG] state said elsewhere.

Reading gives RVLS2M's similarity with that state, for which the language model has to see the
slice's image tokens, and how present the target is by the [SEG] state that the slice itself says:
one that was said where the target is sure finds it everywhere. Drawing takes the similarity and
needs the segmenter alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..case import Familiarity
from ..frame import Frame
from ..modeling.answer import OPENING, SEG_TOKEN
from ..modeling.familiarity import median_of, shows_enough
from ..modeling.image_embedding import ImageEmbedding
from ..modeling.lvlm import VisionOutput
from ..modeling.precision import fast_precision
from ..modeling.sim4seg import FramePair, Sim4SegModel
from .slices import SlicePictures


@dataclass
class Scouted:
    """What the language model makes of the query on a batch of slices.

    Attributes:
        seg_states: float32 (B, D).
        presence_logits: float32 (B,).
    """

    seg_states: Tensor
    presence_logits: Tensor


@dataclass
class Reading:
    """What the LVLM says of a batch of slices.

    Attributes:
        similarity: float32 (B, gh, gw) of a given [SEG] state and the image tokens.
        presence_logits: float32 (B,), by each slice's own [SEG] state.
    """

    similarity: Tensor
    presence_logits: Tensor


@dataclass
class _Read:
    """What the LVLM has seen on a batch of slices, on the CPU.

    Attributes:
        embeddings: (B, gh, gw, C) of the image tokens, in RVLS2M's space.
        own_states: (B, D) of the [SEG] that is said on each slice.
        presence_logits: float32 (B,), by these.
    """

    embeddings: Tensor
    own_states: Tensor
    presence_logits: Tensor

    def rows(self) -> list[_Read]:
        """Each slice apart."""
        parts = (self.embeddings.split(1), self.own_states.split(1), self.presence_logits.split(1))
        return [_Read(*row) for row in zip(*parts, strict=True)]

    @classmethod
    def stack(cls, parts: Sequence[_Read]) -> _Read:
        """Batches one after the other."""
        return cls(
            torch.cat([part.embeddings for part in parts]),
            torch.cat([part.own_states for part in parts]),
            torch.cat([part.presence_logits for part in parts]),
        )


class SliceGrounder:
    """The model's public parts, called for batches of slices of one volume."""

    def __init__(self, model: Sim4SegModel, pictures: SlicePictures, query: str) -> None:
        lvlm = model.lvlm
        self.model = model
        self.pictures = pictures
        self.lvlm_frame = pictures.frame(model.config.lvlm.image_size)
        self.sam_frame = pictures.frame(model.config.segmenter.image_size)
        opening = lvlm.encode(OPENING)
        query_ids = lvlm.query_ids(query)
        seg_id = int(lvlm.tokenizer.convert_tokens_to_ids(SEG_TOKEN))
        self._text_ids = query_ids + opening
        self._seg_place = len(query_ids) + opening.index(seg_id)
        self._judged: dict[int, Familiarity] = {}
        self._scouted: dict[int, _Read] = {}

    @property
    def familiarity(self) -> Familiarity | None:
        """The median of the slices read so far; None if none of them could be judged."""
        return median_of(self._judged.values())

    def scout(self, numbers: Sequence[int]) -> Scouted:
        """Read the query on each of the slices, and remember what was seen for `read`."""
        seen = self._see(numbers)
        for number, one in zip(numbers, seen.rows(), strict=True):
            self._scouted[number] = one
        return Scouted(seen.own_states.float(), seen.presence_logits)

    @torch.inference_mode()
    def read(self, numbers: Sequence[int], seg_state: Tensor) -> Reading:
        """What the LVLM says of slices, and how they compare with a [SEG] state (D,)."""
        new = [number for number in numbers if number not in self._scouted]
        known = dict(self._scouted)
        if new:
            known |= dict(zip(new, self._see(new).rows(), strict=True))
        seen = _Read.stack([known[number] for number in numbers])
        device = self.model.device
        with fast_precision(self.model.rvls2m.scale):
            asked = self._expand(seg_state, len(numbers))
            similarity = self.model.compare(asked, seen.embeddings.to(device))
        return Reading(similarity.cpu(), seen.presence_logits)

    @torch.inference_mode()
    def draw(
        self,
        numbers: Sequence[int],
        seg_state: Tensor,
        similarity: Tensor,
        sam_frame: Frame | None = None,
    ) -> Tensor:
        """Masks of slices.

        Args:
            seg_state: (D,), for all.
            similarity: (B, gh, gw), as of `read`.
            sam_frame: in which SAM sees them; None for its own.

        Returns:
            float16 (B, P, P) logits in that frame.
        """
        frame = self.sam_frame if sam_frame is None else sam_frame
        with fast_precision(self.model.rvls2m.scale):
            drawing = self.model.draw(
                self._expand(seg_state, len(numbers)),
                similarity.to(self.model.device),
                self._embed(numbers, frame),
                self._frames(len(numbers), frame),
            )
        return drawing.mask_logits[:, 0].half().cpu()

    @torch.inference_mode()
    def _see(self, numbers: Sequence[int]) -> _Read:
        lvlm = self.model.lvlm
        framed = self.pictures.framed(numbers, self.lvlm_frame)
        with fast_precision(self.model.rvls2m.scale):
            vision = lvlm.see(framed.to(self.model.device))
            self._judge(numbers, vision, framed)
            prefix = lvlm.prefix_ids(vision)
            ids = torch.tensor([prefix + self._text_ids], device=self.model.device)
            states, _ = lvlm.hidden_states(ids.expand(len(numbers), -1), vision)
            image_states = states[:, len(prefix) - vision.token_count : len(prefix)]
            own_states = states[:, len(prefix) + self._seg_place]
            tokens = self.model.image_tokens(vision, image_states)
            evidence = self.model.weigh(
                own_states, tokens, self._frames(len(numbers), self.sam_frame)
            )
        return _Read(tokens.embeddings.cpu(), own_states.cpu(), evidence.presence_logits.cpu())

    def _judge(self, numbers: Sequence[int], vision: VisionOutput, framed: Tensor) -> None:
        judge = self.model.familiarity
        if judge is None:
            return
        frames = [self.lvlm_frame] * len(numbers)
        judged = judge.of(self.model.lvlm, vision, frames, self.pictures.modality)
        for number, picture, familiarity in zip(numbers, framed, judged, strict=True):
            if shows_enough(picture, self.lvlm_frame):
                self._judged[number] = familiarity

    def _expand(self, seg_state: Tensor, count: int) -> Tensor:
        weight = self.model.rvls2m.scale
        return seg_state.to(weight.device, weight.dtype).expand(count, -1)

    def _embed(self, numbers: Sequence[int], frame: Frame) -> ImageEmbedding:
        images = self.pictures.framed(numbers, frame).to(self.model.device)
        content = torch.tensor([frame.content] * len(numbers))
        return self.model.sam_embedding(images, None, content)

    def _frames(self, count: int, sam_frame: Frame) -> FramePair:
        pair = FramePair.of(
            [self.lvlm_frame] * count,
            [sam_frame] * count,
            self.model.lvlm.token_side,
            self.model.config.segmenter.prompt_size,
        )
        return pair.to(self.model.device)
