"""From a record and a target to one sample: views of the image, a query, an answer."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from Sim4SegCore.frame import Frame, content_mask
from Sim4SegCore.modeling.answer import SEG_TOKEN, UNKNOWN_DIAGNOSIS
from Sim4SegCore.modeling.lvlm import LVLM

from .config import TrainingConfig
from .degrading import Degradation
from .embeddings import EmbeddingCache
from .records import Record
from .targets import PLURAL_TARGETS
from .views import (
    Colouring,
    ImageStore,
    Pixels,
    Turn,
    Window,
    crop,
    random_window,
    square_window,
    whole,
)
from .words import Question, WordMaker

IGNORED = -100
"""Index of a diagnosis that is not known, as torch's cross-entropy ignores it."""

PRESENT_PIXELS = 4
"""A finding that a crop leaves fewer pixels of, as the LVLM sees it, is not asked for."""


@dataclass(frozen=True)
class Variation:
    """What changes from one draw of a record to the next.

    Attributes:
        geometry: turns, flips and windows.
        colour: intensities.
        promptless: fraction of samples whose masks are drawn without RVLS2M's prompt.
        degraded: fraction of samples whose views lose quality.
    """

    geometry: bool = True
    colour: bool = True
    promptless: float = 0.0
    degraded: float = 0.0


PLAIN = Variation(geometry=False, colour=False)


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


@dataclass(frozen=True)
class _Views:
    """Image and mask after the turn, and what LVLM and SAM see of them."""

    image: Pixels
    mask: Pixels | None
    lvlm_frame: Frame
    sam_frame: Frame


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
        self.store = store
        self.lvlm = lvlm
        self.labels = labels
        self.targets = targets
        self.variation = variation
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
        detail = target in self.config.sampling.detail_targets and not mismatched
        views = self._views(record, target, detail, rng)
        lvlm_image, sam_image = self._images(record, views, rng)
        side = self.config.model.lvlm.image_size
        seen = np.zeros((side, side), np.uint8)
        if views.mask is not None:
            seen = crop(views.mask, views.lvlm_frame, side)
        shown = views.mask is None or int((seen > 127).sum()) >= PRESENT_PIXELS
        present = record.is_present(target) and shown
        lost = record.is_present(target) and not present
        diagnosis = UNKNOWN_DIAGNOSIS if mismatched else None if lost else record.diagnosis
        rows, columns = views.lvlm_frame.content
        shown_mask = seen[:rows, :columns] > 127 if views.mask is not None else None
        question = Question(record, target, mismatched, present, diagnosis)
        ids, weights = self.words.make(question, lvlm_image[:rows, :columns], shown_mask, rng)
        prompt_size = self.config.model.segmenter.prompt_size
        mask = np.zeros((prompt_size, prompt_size), np.uint8)
        if views.mask is not None:
            mask = crop(views.mask, views.sam_frame, prompt_size)
        return Sample(
            record_id=record.id,
            lvlm_image=lvlm_image,
            sam_image=sam_image,
            sam_embedding=None if self.embeddings is None else self.embeddings[record.id],
            lvlm_frame=views.lvlm_frame,
            sam_frame=views.sam_frame,
            mask=mask,
            mask_known=mismatched or views.mask is not None or not record.is_present(target),
            target=self.targets[target],
            present=present,
            detail=detail and present,
            ids=ids,
            weights=weights,
            seg_position=ids.index(self.seg_id),
            diagnosis=IGNORED if diagnosis is None else self.labels[diagnosis],
            prompted=rng.random() >= self.variation.promptless,
        )

    def _views(self, record: Record, target: str, detail: bool, rng: random.Random) -> _Views:
        image = self.store.image(record)
        has_mask = record.masks is not None and target in record.masks
        mask = self.store.mask(record, target) if has_mask else None
        sampling = self.config.sampling
        narrow = detail and rng.random() < sampling.detail_views
        zoomed = not detail and self.variation.geometry and rng.random() < sampling.zoom_views
        window = whole(image.shape)
        if self.variation.geometry:
            turn = Turn.draw(record.body_part, sampling.tilt, rng)
            image, mask = turn(image), None if mask is None else turn(mask)
            window = whole(image.shape)
            cropped = not (narrow or zoomed) and rng.random() < 0.6
            if cropped and target not in PLURAL_TARGETS:
                window = random_window(image.shape, mask, 0.55, 1.0, rng)
        sam_window: Window = window
        if narrow and self.variation.geometry:
            sam_window = square_window(image.shape, mask, 0.2, 0.45, rng)
        elif zoomed:
            sam_window = square_window(image.shape, mask, 0.25, 0.8, rng)
        return _Views(
            image,
            mask,
            Frame.of_window(window, self.config.model.lvlm.image_size),
            Frame.of_window(sam_window, self.config.model.segmenter.image_size),
        )

    def _images(
        self, record: Record, views: _Views, rng: random.Random
    ) -> tuple[Pixels, Pixels | None]:
        """The LVLM's image, and SAM's where it is another one."""
        changes = self._changes(record, rng)
        lvlm_image = _view(views.image, views.lvlm_frame, changes)
        shared = self.config.model.segmenter.encoder == "shared"
        same = shared and views.sam_frame == views.lvlm_frame
        if same or self.embeddings is not None:
            return lvlm_image, None
        return lvlm_image, _view(views.image, views.sam_frame, changes)

    def _changes(self, record: Record, rng: random.Random) -> list[Colouring | Degradation]:
        """What every view of a sample goes through."""
        changes: list[Colouring | Degradation] = []
        if self.variation.colour:
            changes.append(Colouring.draw(record.modality, rng))
        if self.variation.degraded and rng.random() < self.variation.degraded:
            changes.append(Degradation.draw(rng))
        return changes


def _view(image: Pixels, frame: Frame, changes: Sequence[Colouring | Degradation]) -> Pixels:
    framed = crop(image, frame, frame.side)
    rgb = framed if framed.ndim == 3 else np.repeat(framed[..., None], 3, axis=-1)
    for change in changes:
        rgb = change(rgb, _shown(frame))
    return rgb


def _shown(frame: Frame) -> NDArray[np.bool_]:
    shown: Tensor = content_mask(frame, frame.side)
    return shown.numpy().astype(bool)


def stack_images(images: list[Pixels]) -> Tensor:
    """(S, S, 3) pixels to (B, 3, S, S)."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
