"""From a record and a target to one sample: views of the image, a query, an answer."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from Sim4SegCore.frame import Frame
from Sim4SegCore.modeling.answer import SEG_TOKEN, UNKNOWN_DIAGNOSIS
from Sim4SegCore.modeling.lvlm import LVLM

from .config import TrainingConfig
from .embeddings import EmbeddingCache
from .records import Record
from .sample_views import SampleViews, Variation, ViewMaker, rendered
from .views import ImageStore, Pixels
from .words import Question, WordMaker

IGNORED = -100
"""Index of a diagnosis that is not known, as torch's cross-entropy ignores it."""


@dataclass
class Sample:
    """One question about one view.

    Attributes:
        lvlm_image: uint8 (S, S, 3).
        sam_image: uint8 (S', S', 3); None where SAM sees the LVLM's pixels or `sam_embedding`.
        sam_embedding: (C, h, w) from a cache.
        mask: uint8 (P, P), 0 to 255, in SAM's frame.
        target: index among the targets that are taught.
        weights: of predicting each of `ids`; 0 is not taught.
        seg_position: index of [SEG] in `ids`.
        diagnosis: index among the model's labels, or IGNORED.
        prompted: the mask is drawn with RVLS2M's prompt.
    """

    record_id: str
    lvlm_image: Pixels
    sam_image: Pixels | None
    sam_embedding: Tensor | None
    lvlm_frame: Frame
    sam_frame: Frame
    mask: Pixels
    mask_known: bool
    target: int
    present: bool
    detail: bool
    ids: list[int]
    weights: list[float]
    seg_position: int
    diagnosis: int
    prompted: bool


class SampleMaker:
    """Makes samples; the same randomness gives the same sample."""

    def __init__(
        self,
        config: TrainingConfig,
        store: ImageStore,
        lvlm: LVLM,
        labels: Mapping[str, int],
        targets: Mapping[str, int],
        variation: Variation,
        words: WordMaker,
        embeddings: EmbeddingCache | None = None,
    ) -> None:
        self.config = config
        self.lvlm = lvlm
        self.labels = labels
        self.targets = targets
        self.variation = variation
        self.views = ViewMaker(config.sampling, config.model, store, variation)
        self.embeddings = embeddings
        self.words = words
        self.seg_id = lvlm.tokenizer.convert_tokens_to_ids(SEG_TOKEN)

    def make(self, record: Record, target: str, mismatched: bool, rng: random.Random) -> Sample:
        """A sample that asks a record for a target.

        Args:
            mismatched: the target belongs to another organ, there is nothing to find.

        Raises:
            Sim4SegError: if query and answer are longer than the configuration allows.
        """
        views = self.views.draw(record, target, mismatched, rng)
        lvlm_image, sam_image = self._images(record, views, rng)
        present = record.is_present(target) and views.shows_finding()
        lost = record.is_present(target) and not present
        diagnosis = UNKNOWN_DIAGNOSIS if mismatched else None if lost else record.diagnosis
        rows, columns = views.lvlm_frame.content
        shown_mask = None if views.mask is None else views.seen_mask[:rows, :columns] > 127
        question = Question(record, target, mismatched, present, diagnosis)
        ids, weights = self.words.make(question, lvlm_image[:rows, :columns], shown_mask, rng)
        return Sample(
            record_id=record.id,
            lvlm_image=lvlm_image,
            sam_image=sam_image,
            sam_embedding=None if self.embeddings is None else self.embeddings[record.id],
            lvlm_frame=views.lvlm_frame,
            sam_frame=views.sam_frame,
            mask=views.drawn_mask(self.config.model.segmenter.prompt_size),
            mask_known=mismatched or views.mask is not None or not record.is_present(target),
            target=self.targets[target],
            present=present,
            detail=self.views.is_detail(target, mismatched) and present,
            ids=ids,
            weights=weights,
            seg_position=ids.index(self.seg_id),
            diagnosis=IGNORED if diagnosis is None else self.labels[diagnosis],
            prompted=rng.random() >= self.variation.promptless,
        )

    def _images(
        self, record: Record, views: SampleViews, rng: random.Random
    ) -> tuple[Pixels, Pixels | None]:
        """The LVLM's image, and SAM's where it is another one."""
        changes = self.views.changes(record, rng)
        lvlm_image = rendered(views.image, views.lvlm_frame, changes)
        shared = self.config.model.segmenter.encoder == "shared"
        same = shared and views.sam_frame == views.lvlm_frame
        if same or self.embeddings is not None:
            return lvlm_image, None
        return lvlm_image, rendered(views.image, views.sam_frame, changes)


def stack_images(images: list[Pixels]) -> Tensor:
    """(S, S, 3) pixels to (B, 3, S, S)."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
