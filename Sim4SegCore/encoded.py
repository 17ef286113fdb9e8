"""What the predictor keeps of an image between queries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from .case import Case, Familiarity
from .frame import Frame
from .modeling.image_embedding import ImageEmbedding
from .modeling.sim4seg import ImageTokens

KEPT_VIEWS = 8


@dataclass
class Tiles:
    """Windows that cover an image, and SAM's embeddings of them in batches."""

    frames: list[Frame]
    embeddings: list[ImageEmbedding]


@dataclass
class EncodedImage:
    """What `set_image` computed, and what later queries added.

    Attributes:
        pixels: uint8 (3, H, W), the image as models see it.
        lvlm_image: uint8 (3, S, S), the same in the LVLM's frame.
        prefix_cache: the LVLM's keys and values up to and with the image.
        image_embedding: SAM's, of the whole image.
        familiarity: with the image, see `Result`.
        tiles: of thin targets, once a query asked for one.
        views: SAM's embeddings of other frames, the latest `KEPT_VIEWS`.
    """

    case: Case
    pixels: Tensor
    lvlm_image: Tensor
    lvlm_frame: Frame
    sam_frame: Frame
    token_grid: int
    prefix_cache: Any
    image_tokens: ImageTokens
    image_embedding: ImageEmbedding
    encoding_seconds: float
    familiarity: Familiarity | None = None
    tiles: Tiles | None = None
    views: dict[Frame, ImageEmbedding] = field(default_factory=dict)

    def keep_view(self, frame: Frame, embedding: ImageEmbedding) -> None:
        """Remember SAM's embedding of a frame; the oldest gives way."""
        self.views[frame] = embedding
        while len(self.views) > KEPT_VIEWS:
            del self.views[next(iter(self.views))]
