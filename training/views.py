"""Views of a record: windows, turns and colours, always with the mask that belongs to them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.frame import Frame

from .records import Record

MAX_SIDE = 640
MAX_DETAIL_SIDE = 1024
SIDED_TARGETS = frozenset({"left lung", "right lung"})
FIXED_ORIENTATION = frozenset({"chest"})
FIXED_DEPTH = frozenset({"breast", "thyroid"})
COLOUR_MODALITIES = frozenset({"dermoscopy", "fundus photograph", "endoscopy"})

Pixels = NDArray[np.uint8]
Window = tuple[int, int, int, int]


class ImageStore:
    """Decoded images and masks at training resolution, kept in memory as far as it is given."""

    def __init__(self, folder: Path, cache_gib: float) -> None:
        self.folder = folder
        self._kept: dict[str, Pixels] = {}
        self._room = int(cache_gib * 2**30)

    def image(self, record: Record) -> Pixels:
        """uint8 (H, W) or (H, W, 3)."""
        return self._read(record.image, record, None)

    def mask(self, record: Record, target: str) -> Pixels:
        """uint8 (H, W), 0 or 255, of a target that the record has a mask for."""
        assert record.masks is not None
        mask = self._read(record.masks[target], record, "L")
        size = self.image(record).shape[:2]
        if mask.shape != size:
            raise Sim4SegError(
                f"the mask {record.masks[target]} is {mask.shape[1]}×{mask.shape[0]}, its image "
                f"{size[1]}×{size[0]}; mend the data or leave out {record.id}"
            )
        return mask

    def _read(self, path: str, record: Record, mode: str | None) -> Pixels:
        if path in self._kept:
            return self._kept[path]
        try:
            with Image.open(self.folder / path) as image:
                mode = mode or ("L" if image.mode == "L" else "RGB")
                pixels = np.asarray(self._shrink(image.convert(mode), record))
        except OSError:
            raise Sim4SegError(f"{self.folder / path} is missing or damaged") from None
        if pixels.nbytes <= self._room:
            self._room -= pixels.nbytes
            self._kept[path] = pixels
        return pixels

    @staticmethod
    def _shrink(image: Image.Image, record: Record) -> Image.Image:
        limit = MAX_DETAIL_SIDE if record.body_part in ("retina", "chest") else MAX_SIDE
        scale = limit / max(image.size)
        if scale >= 1:
            return image
        size = [max(1, round(edge * scale)) for edge in image.size]
        return image.resize(size, Image.Resampling.BOX)


TILTED = 0.5
"""Fraction of the views that are tilted at all."""


@dataclass(frozen=True)
class Turn:
    """A flip, quarter turns and a tilt, applied to every view of a sample alike.

    Attributes:
        tilt: degrees; what comes into the image from outside is black.
    """

    quarter_turns: int = 0
    mirrored: bool = False
    tilt: float = 0.0

    @classmethod
    def draw(cls, body_part: str, most_tilt: float, rng: random.Random) -> Turn:
        """Chest films keep their sides; in ultrasound, depth always runs downwards."""
        tilt = 0.0
        if most_tilt and rng.random() < TILTED:
            tilt = rng.uniform(-most_tilt, most_tilt)
        if body_part in FIXED_ORIENTATION:
            return cls(tilt=tilt / 3)
        if body_part in FIXED_DEPTH:
            return cls(0, rng.random() < 0.5, tilt)
        return cls(rng.choice((0, 0, 1, 2, 3)), rng.random() < 0.5, tilt)

    def __call__(self, pixels: Pixels) -> Pixels:
        if self.tilt:
            tilted = Image.fromarray(pixels).rotate(self.tilt, Image.Resampling.BILINEAR)
            pixels = np.asarray(tilted)
        turned = np.rot90(pixels, self.quarter_turns)
        return turned[:, ::-1] if self.mirrored else turned


def whole(shape: tuple[int, ...]) -> Window:
    """The window that is the whole image."""
    return (0, 0, shape[0], shape[1])


def random_window(
    shape: tuple[int, ...], mask: Pixels | None, low: float, high: float, rng: random.Random
) -> Window:
    """A window with sides of low..high of the image's, three times in four on the finding."""
    height, width = shape[:2]
    sides = [max(16, round(edge * rng.uniform(low, high))) for edge in (height, width)]
    sides = [min(side, edge) for side, edge in zip(sides, (height, width), strict=True)]
    corner = [
        rng.randint(0, edge - side) for side, edge in zip(sides, (height, width), strict=True)
    ]
    if mask is not None and rng.random() < 0.75:
        rows, columns = np.nonzero(mask)
        if len(rows):
            pick = rng.randrange(len(rows))
            for axis, (point, edge) in enumerate(((rows[pick], height), (columns[pick], width))):
                start = int(point) - rng.randint(0, sides[axis] - 1)
                corner[axis] = min(max(start, 0), edge - sides[axis])
    return corner[0], corner[1], sides[0], sides[1]


def square_window(
    shape: tuple[int, ...], mask: Pixels | None, low: float, high: float, rng: random.Random
) -> Window:
    """A square window with a side of low..high of the image's longest side."""
    side = min(round(max(shape[:2]) * rng.uniform(low, high)), *shape[:2])
    relative = [side / edge for edge in shape[:2]]
    top, left, _, _ = random_window(shape, mask, min(relative), min(relative), rng)
    return min(top, shape[0] - side), min(left, shape[1] - side), side, side


def crop(pixels: Pixels, frame: Frame, size: int) -> Pixels:
    """A frame's view of an image or mask, at `size` pixels for the frame's side, padded with 0."""
    top, left, height, width = frame.window
    content = [max(1, round(edge * size / frame.side)) for edge in frame.content]
    resized = Image.fromarray(np.ascontiguousarray(pixels)).resize(
        (content[1], content[0]),
        Image.Resampling.BILINEAR,
        box=(left, top, left + width, top + height),
    )
    framed = np.zeros((size, size, *pixels.shape[2:]), dtype=np.uint8)
    framed[: content[0], : content[1]] = np.asarray(resized)
    return framed


@dataclass(frozen=True)
class Colouring:
    """A random change of intensities: gamma, contrast, brightness, channel gains and noise."""

    gamma: float
    gains: tuple[float, float, float]
    offset: float
    noise: float
    seed: int

    @classmethod
    def draw(cls, modality: str, rng: random.Random) -> Colouring:
        """Channels vary apart only where colour is light, not physics."""
        spread = 0.12 if modality in COLOUR_MODALITIES else 0.0
        contrast = rng.uniform(0.8, 1.2)
        red, green, blue = (contrast * rng.uniform(1 - spread, 1 + spread) for _ in range(3))
        return cls(
            gamma=2 ** rng.uniform(-0.5, 0.5),
            gains=(red, green, blue),
            offset=rng.uniform(-18, 18),
            noise=rng.choice((0.0, 0.0, rng.uniform(0, 8))),
            seed=rng.getrandbits(32),
        )

    def __call__(self, image: Pixels, shown: NDArray[np.bool_]) -> Pixels:
        """(S, S, 3) uint8 to the same; padding stays black."""
        levels = 255 * (np.arange(256, dtype=np.float32) / 255) ** self.gamma
        gains = np.asarray(self.gains, dtype=np.float32)
        table = (levels[:, None] - 127) * gains + 127 + self.offset
        changed = np.stack([table[:, c][image[..., c]] for c in range(3)], axis=-1)
        if self.noise:
            generator = np.random.default_rng(self.seed)
            changed += generator.standard_normal(image.shape[:2], dtype=np.float32)[..., None] * (
                self.noise
            )
        return (np.clip(changed, 0, 255) * shown[..., None]).astype(np.uint8)
