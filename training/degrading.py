"""What happens to images on their way to a user: compression, small copies, blur."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from .views import Pixels

KINDS: tuple[Literal["compressed", "shrunk", "blurred"], ...] = ("compressed", "shrunk", "blurred")


@dataclass(frozen=True)
class Degradation:
    """A loss of quality.

    Attributes:
        kind: JPEG compression, a smaller copy enlarged again, or a Gaussian blur.
        strength: from 0, hardly visible, to 1.
    """

    kind: Literal["compressed", "shrunk", "blurred"]
    strength: float

    @classmethod
    def draw(cls, rng: random.Random) -> Degradation:
        """Any kind, any strength."""
        return cls(rng.choice(KINDS), rng.random())

    def __call__(self, image: Pixels, shown: NDArray[np.bool_]) -> Pixels:
        """(S, S, 3) uint8 to the same; padding stays black."""
        picture = Image.fromarray(image)
        if self.kind == "compressed":
            stream = io.BytesIO()
            picture.save(stream, "JPEG", quality=round(90 - 60 * self.strength))
            picture = Image.open(stream)
        elif self.kind == "shrunk":
            side = round(len(image) / (1.2 + 1.3 * self.strength))
            small = picture.resize((side, side), Image.Resampling.BOX)
            picture = small.resize(picture.size, Image.Resampling.BILINEAR)
        else:
            picture = picture.filter(ImageFilter.GaussianBlur(0.3 + 1.2 * self.strength))
        return np.asarray(picture) * shown[..., None].astype(np.uint8)
