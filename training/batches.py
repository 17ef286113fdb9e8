"""Batches: questions drawn from the mixture, cut for processes and micro-batches.

Sample n of step s is a pure function of the seed, s and n, so that a run that was killed goes on
as if nothing had happened, with any number of processes and loader workers.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.modeling.image_embedding import ImageEmbedding
from Sim4SegCore.modeling.sim4seg import FramePair, TeacherForced

from .config import TrainingConfig
from .mixture import Mixture, group_records
from .parallel import World
from .records import Record
from .samples import Sample, SampleMaker, stack_images


@dataclass
class Batch:
    """Inputs and targets of one forward pass; names as in `Sim4SegModel.forward`.

    Attributes:
        record_ids: of its samples.
        token_weights: (B, T) weight of predicting each of `text_ids`; 0 is not taught.
        mask: (B, 1, P, P) in 0..1, SAM's frame.
        mask_known: bool (B,).
        target: (B,) index among the targets that are taught.
        present: (B,) 0 or 1.
        detail: (B,) 0 or 1.
        diagnosis: (B,) index among the model's labels, or IGNORED.
        prompted: (B,) 0 or 1.
    """

    record_ids: list[str]
    lvlm_images: Tensor
    sam_images: Tensor | None
    sam_rows: Tensor | None
    sam_embeddings: Tensor | None
    text_ids: Tensor
    seg_positions: Tensor
    frames: FramePair
    token_weights: Tensor
    mask: Tensor
    mask_known: Tensor
    target: Tensor
    present: Tensor
    detail: Tensor
    diagnosis: Tensor
    prompted: Tensor


def predict(forward: Callable[..., TeacherForced], batch: Batch) -> TeacherForced:
    """What a model, or what spreads it over processes, says of a batch."""
    embedding = None
    if batch.sam_embeddings is not None:
        embedding = ImageEmbedding(batch.sam_embeddings.float())
    return forward(
        batch.lvlm_images,
        batch.sam_images,
        batch.sam_rows,
        batch.text_ids,
        batch.seg_positions,
        batch.frames,
        embedding,
        batch.prompted,
    )


class BatchDataset(Dataset[list[Batch]]):
    """Item n is this process's part of the batch of step n, in micro-batches."""

    def __init__(
        self, config: TrainingConfig, records: Sequence[Record], maker: SampleMaker, world: World
    ) -> None:
        """
        Raises:
            Sim4SegError: if processes and micro-batches do not divide the batch.
        """
        self.config = config
        self.maker = maker
        self.mixture = Mixture(config.sampling, group_records(records))
        share = world.share(config.batch_size)
        size = config.micro_batch_size or share
        if share % size:
            raise Sim4SegError(
                f"micro_batch_size {size} does not divide the {share} samples of each process"
            )
        first = world.rank * share
        self.micro_batches = [range(n, n + size) for n in range(first, first + share, size)]

    def __len__(self) -> int:
        return self.config.steps

    def __getitem__(self, step: int) -> list[Batch]:
        weights = self.mixture.weights(step)
        return [
            collate([self._sample(step, n, weights) for n in numbers], self.maker)
            for numbers in self.micro_batches
        ]

    def _sample(self, step: int, number: int, weights: list[float]) -> Sample:
        rng = random.Random(f"{self.config.seed}/{step}/{number}")
        asked = self.mixture.draw(weights, rng)
        return self.maker.make(asked.record, asked.target, asked.mismatched, rng)


def plain_batches(
    config: TrainingConfig, records: Sequence[Record], maker: SampleMaker, world: World
) -> list[Batch]:
    """The same questions every time, each record's first, for the loss on a validation split.

    Records are spread evenly over the split; each process gets its part of every batch.
    """
    known = [
        record
        for record in records
        if record.diagnosis in {None, *maker.labels} and record.questions[0] in maker.targets
    ]
    count = min(len(known), config.validation.batches * config.batch_size)
    count -= count % world.size
    chosen = [known[n * len(known) // count] for n in range(count)][world.rank :: world.size]
    size = config.micro_batch_size or world.share(config.batch_size)
    samples = [
        maker.make(record, record.questions[0], False, random.Random(record.id))
        for record in chosen
    ]
    return [collate(samples[n : n + size], maker) for n in range(0, len(samples), size)]


def collate(samples: list[Sample], maker: SampleMaker) -> Batch:
    """Samples side by side, texts padded on the right."""
    length = max(len(s.ids) for s in samples)
    pad_id = maker.lvlm.tokenizer.pad_token_id
    rows = [n for n, s in enumerate(samples) if s.sam_image is not None]
    own = [s.sam_image for s in samples if s.sam_image is not None]
    embeddings = [s.sam_embedding for s in samples if s.sam_embedding is not None]
    frames = FramePair.of(
        [s.lvlm_frame for s in samples],
        [s.sam_frame for s in samples],
        maker.lvlm.token_side,
        maker.config.model.segmenter.prompt_size,
    )
    return Batch(
        record_ids=[s.record_id for s in samples],
        lvlm_images=stack_images([s.lvlm_image for s in samples]),
        sam_images=stack_images(own) if own else None,
        sam_rows=torch.tensor(rows) if own else None,
        sam_embeddings=torch.stack(embeddings) if embeddings else None,
        text_ids=torch.tensor([_pad(s.ids, length, pad_id) for s in samples]),
        seg_positions=torch.tensor([s.seg_position for s in samples]),
        frames=frames,
        token_weights=torch.tensor([_pad(s.weights, length, 0.0) for s in samples]),
        mask=torch.from_numpy(np.stack([s.mask for s in samples]))[:, None].float() / 255,
        mask_known=torch.tensor([s.mask_known for s in samples]),
        target=torch.tensor([s.target for s in samples]),
        present=torch.tensor([float(s.present) for s in samples]),
        detail=torch.tensor([float(s.detail) for s in samples]),
        diagnosis=torch.tensor([s.diagnosis for s in samples]),
        prompted=torch.tensor([float(s.prompted) for s in samples]),
    )


def _pad(values: list[int] | list[float], length: int, filler: float) -> list[float]:
    return [*values, *([filler] * (length - len(values)))]
