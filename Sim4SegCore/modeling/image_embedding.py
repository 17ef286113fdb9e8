"""An image as the mask decoder reads it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class ImageEmbedding:
    """What the mask decoder reads of an image.

    Attributes:
        coarse: (B, C, h, w), SAM's image embedding.
        fine: (B, C / 4, 2h, 2w), added half-way up the decoder's upscaling, where thin
            structures live (after SAM 2, arXiv 2408.00714); None with SAM's own ViT.
        context: (B, C, h / 2, w / 2), (B, C, h / 4, w / 4) and so on, which the query steers on
            their way down to `coarse`; empty where the encoder merged them itself.
    """

    coarse: Tensor
    fine: Tensor | None = None
    context: tuple[Tensor, ...] = ()

    @classmethod
    def stack(cls, parts: list[ImageEmbedding]) -> ImageEmbedding:
        """Embeddings one after the other in one batch."""
        fine = [part.fine for part in parts if part.fine is not None]
        return cls(
            torch.cat([part.coarse for part in parts]),
            torch.cat(fine) if len(fine) == len(parts) else None,
            tuple(torch.cat(level) for level in zip(*(p.context for p in parts), strict=True)),
        )

    def rows(self, rows: slice) -> ImageEmbedding:
        """Some rows of the batch."""
        return ImageEmbedding(
            self.coarse[rows],
            None if self.fine is None else self.fine[rows],
            tuple(level[rows] for level in self.context),
        )

    def with_rows(self, rows: Tensor, other: ImageEmbedding) -> ImageEmbedding:
        """The same with some rows of the batch taken from another batch."""
        fine = None
        if self.fine is not None and other.fine is not None:
            fine = _replaced(self.fine, rows, other.fine)
        return ImageEmbedding(
            _replaced(self.coarse, rows, other.coarse),
            fine,
            tuple(
                _replaced(own, rows, new)
                for own, new in zip(self.context, other.context, strict=True)
            ),
        )


def _replaced(values: Tensor, rows: Tensor, new: Tensor) -> Tensor:
    return values.index_copy(0, rows, new.to(values.dtype))
