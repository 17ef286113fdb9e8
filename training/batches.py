"""Batches: balanced sampling of (record, target), a view of it, a query and an answer.

Batch n of a run is a pure function of the seed and n, so that a run that was killed goes on
as if nothing had happened, with any number of loader processes.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from Sim4SegCore.frame import Frame, content_mask
from Sim4SegCore.modeling.answer import SEG_TOKEN, UNKNOWN_DIAGNOSIS
from Sim4SegCore.modeling.lvlm import LVLM
from Sim4SegCore.modeling.sim4seg import FramePair

from . import text
from .config import TrainingConfig
from .records import Record
from .views import (
    Colouring,
    ImageStore,
    Pixels,
    Turn,
    crop,
    random_window,
    square_window,
    whole,
)

ORGANS = {
    "fracture": "limb",
    "breast mass": "breast",
    "retinal vessels": "retina",
    "skin lesion": "skin",
    "tumor": "brain",
    "polyp": "colon",
}
"""Where a target can be at all; everything else belongs to the chest."""


IGNORED = -100
"""Index of a diagnosis that is not known, as torch's cross-entropy ignores it."""


@dataclass
class Batch:
    """Inputs and targets of one step; names as in `Sim4SegModel.forward`.

    Attributes:
        token_weights: (B, T) weight of predicting each of `text_ids`; 0 is not taught.
        mask: (B, 1, P, P) in 0..1, SAM's frame.
        mask_known: bool (B,).
        present: (B,) 0 or 1.
        detail: (B,) 0 or 1.
        diagnosis: (B,) index among the model's labels, or IGNORED.
    """

    lvlm_images: Tensor
    sam_images: Tensor | None
    sam_rows: Tensor | None
    text_ids: Tensor
    seg_positions: Tensor
    frames: FramePair
    token_weights: Tensor
    mask: Tensor
    mask_known: Tensor
    present: Tensor
    detail: Tensor
    diagnosis: Tensor


@dataclass
class _Sample:
    lvlm_image: Pixels
    sam_image: Pixels | None
    lvlm_frame: Frame
    sam_frame: Frame
    mask: Pixels
    mask_known: bool
    present: bool
    detail: bool
    ids: list[int]
    weights: list[float]
    seg_position: int
    diagnosis: int


class BatchDataset(Dataset[Batch]):
    """Item n is the whole batch of step n."""

    def __init__(
        self,
        config: TrainingConfig,
        records: Sequence[Record],
        store: ImageStore,
        lvlm: LVLM,
        diagnoses: Sequence[str],
    ) -> None:
        self.config = config
        self.labels: dict[str | None, int] = {label: n for n, label in enumerate(diagnoses)}
        self.store = store
        self.lvlm = lvlm
        self.seg_id = lvlm.tokenizer.convert_tokens_to_ids(SEG_TOKEN)
        self.pad_id = lvlm.tokenizer.pad_token_id
        self.groups = group_records(records)

    def group_weights(self, step: int) -> list[float]:
        """How often each group is drawn at a step, up to a factor."""
        sampling = self.config.sampling
        stage = next((s for s in sampling.stages if step < s.until), None)
        factors = sampling.set_weights if stage is None else stage.set_weights
        return [
            min(1.0, len(members) / sampling.balance_count) ** sampling.balance_power
            * factors.get(dataset, 1.0)
            for (dataset, _, _), members in self.groups
        ]

    def __len__(self) -> int:
        return self.config.steps

    def __getitem__(self, step: int) -> Batch:
        rng = random.Random(f"{self.config.seed}/{step}")
        weights = self.group_weights(step)
        return self._collate([self._sample(weights, rng) for _ in range(self.config.batch_size)])

    def _sample(self, weights: list[float], rng: random.Random) -> _Sample:
        (_, target, _), members = rng.choices(self.groups, weights)[0]
        record = rng.choice(members)
        mismatched = rng.random() < self.config.sampling.mismatched
        if mismatched:
            target = rng.choice([t for t in text.SYNONYMS if organ_of(t) != organ_of(target)])
        return self._view(record, target, mismatched, rng)

    def _view(self, record: Record, target: str, mismatched: bool, rng: random.Random) -> _Sample:
        turn = Turn.draw(record.body_part, rng)
        image = turn(self.store.image(record))
        has_mask = record.masks is not None and target in record.masks
        mask = turn(self.store.mask(record, target)) if has_mask else None
        detail = target in self.config.sampling.detail_targets and not mismatched
        side = self.config.model.lvlm.image_size
        narrow = detail and rng.random() < self.config.sampling.detail_views
        window = whole(image.shape)
        if not narrow and rng.random() < 0.6 and target not in text.PLURAL_TARGETS:
            window = random_window(image.shape, mask, 0.55, 1.0, rng)
        lvlm_frame = Frame.of_window(window, side)
        sam_side = self.config.model.segmenter.image_size
        sam_window = square_window(image.shape, mask, 0.2, 0.45, rng) if narrow else window
        sam_frame = Frame.of_window(sam_window, sam_side)

        colouring = Colouring.draw(record.modality, rng)
        lvlm_image = colouring(_rgb(crop(image, lvlm_frame, side)), _shown(lvlm_frame, side))
        sam_image = None
        if narrow:
            sam_image = colouring(
                _rgb(crop(image, sam_frame, sam_side)), _shown(sam_frame, sam_side)
            )
        seen = np.zeros((side, side), np.uint8) if mask is None else crop(mask, lvlm_frame, side)
        present = record.is_present(target) and (mask is None or bool((seen > 127).sum() >= 4))
        lost = record.is_present(target) and not present
        ids, weights, seg_position = self._words(
            record, target, mismatched, present, lost, seen, lvlm_image, lvlm_frame, rng
        )
        prompt_size = self.config.model.segmenter.prompt_size
        sam_mask = np.zeros((prompt_size, prompt_size), np.uint8)
        if mask is not None:
            sam_mask = crop(mask, sam_frame, prompt_size)
        known = mismatched or has_mask or not record.is_present(target)
        return _Sample(
            lvlm_image, sam_image, lvlm_frame, sam_frame, sam_mask, known, present,
            detail and present, ids, weights, seg_position,
            IGNORED if lost else self.labels.get(record.diagnosis, IGNORED),
        )  # fmt: skip

    def _words(
        self,
        record: Record,
        target: str,
        mismatched: bool,
        present: bool,
        lost: bool,
        seen: Pixels,
        image: Pixels,
        frame: Frame,
        rng: random.Random,
    ) -> tuple[list[int], list[float], int]:
        facts = None
        if present and seen.any():
            rows, columns = frame.content
            grey = image[:rows, :columns].mean(-1, dtype=np.float32)
            facts = text.measure_facts(seen[:rows, :columns] > 127, grey)
        diagnosis = UNKNOWN_DIAGNOSIS if mismatched else None if lost else record.diagnosis
        query = text.random_query(
            target, None if mismatched else record.dataset, record.modality, rng
        )
        taught = text.write_answer(
            target, present, facts, record.modality, record.body_part, diagnosis, rng
        )
        ids = self.lvlm.query_ids(query)
        weights = [0.0] * len(ids)
        for index, (piece, supervised) in enumerate(taught.segments):
            tokens = self.lvlm.encode(piece)
            last = index == len(taught.segments) - 1
            weight = self.config.loss.diagnosis_tokens if last else 1.0
            ids += tokens
            weights += [weight if supervised else 0.0] * len(tokens)
        return ids, weights, ids.index(self.seg_id)

    def _collate(self, samples: list[_Sample]) -> Batch:
        length = max(len(s.ids) for s in samples)
        rows = [n for n, s in enumerate(samples) if s.sam_image is not None]
        narrow = [s.sam_image for s in samples if s.sam_image is not None]
        grid = self.config.model.lvlm.image_size // 16
        return Batch(
            lvlm_images=_stack([s.lvlm_image for s in samples]),
            sam_images=_stack(narrow) if narrow else None,
            sam_rows=torch.tensor(rows) if narrow else None,
            text_ids=torch.tensor([_pad(s.ids, length, self.pad_id) for s in samples]),
            seg_positions=torch.tensor([s.seg_position for s in samples]),
            frames=FramePair.of(
                [s.lvlm_frame for s in samples],
                [s.sam_frame for s in samples],
                grid,
                self.config.model.segmenter.prompt_size,
            ),
            token_weights=torch.tensor([_pad(s.weights, length, 0.0) for s in samples]),
            mask=torch.from_numpy(np.stack([s.mask for s in samples]))[:, None].float() / 255,
            mask_known=torch.tensor([s.mask_known for s in samples]),
            present=torch.tensor([float(s.present) for s in samples]),
            detail=torch.tensor([float(s.detail) for s in samples]),
            diagnosis=torch.tensor([s.diagnosis for s in samples]),
        )


def group_records(
    records: Sequence[Record],
) -> list[tuple[tuple[str, str, str], list[Record]]]:
    """Records by (set, target, state); what a set never asks for is left out.

    State is present or absent, or the diagnosis where masks are unknown.
    """
    groups: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
    chest = [t for t in text.ABNORMALITIES | {"tubings"} if organ_of(t) == "chest"]
    for record in records:
        if record.masks is None:
            groups[record.dataset, record.asked, str(record.diagnosis)].append(record)
            continue
        for target in record.questions:
            state = "present" if record.masks else "absent"
            groups[record.dataset, target, state].append(record)
        if record.body_part == "chest":
            for target in set(chest) - set(record.masks):
                groups[record.dataset, "absent chest target", target].append(record)
    renamed = {}
    for (dataset, target, state), members in groups.items():
        absent = target == "absent chest target"
        renamed[(dataset, state, "absent") if absent else (dataset, target, state)] = members
    return sorted(renamed.items())


def organ_of(target: str) -> str:
    """The organ in which a target can be."""
    return ORGANS.get(target, "chest")


def _rgb(pixels: Pixels) -> Pixels:
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=-1)


def _shown(frame: Frame, size: int) -> NDArray[np.bool_]:
    return content_mask(frame, size).numpy()


def _stack(images: list[Pixels]) -> Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def _pad(values: list[int] | list[float], length: int, filler: float) -> list[float]:
    return [*values, *([filler] * (length - len(values)))]
