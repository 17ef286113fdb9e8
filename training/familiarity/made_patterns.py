"""Drawn patterns that show nothing: noise, gradients and regular figures, repeatable by seed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZES = ((256, 256), (300, 400), (512, 384))
"""(height, width) in pixels; each pattern is drawn once in each."""

Pixels = NDArray[np.uint8]


def noise_patterns(seed: int = 0) -> Iterator[tuple[str, Pixels]]:
    """Name and uint8 (H, W) or (H, W, 3) of each pattern."""
    for number, size in enumerate(SIZES):
        rng = np.random.default_rng((seed, number))
        for name, pixels in _drawn(size, rng):
            yield f"{name} {size[1]}x{size[0]}", pixels


def _drawn(size: tuple[int, int], rng: np.random.Generator) -> Iterator[tuple[str, Pixels]]:
    for spread in (10, 40, 100):
        yield f"gaussian noise {spread}", _bytes(rng.normal(127, spread, size))
    yield "gaussian noise colour", _bytes(rng.normal(127, 60, (*size, 3)))
    yield "uniform noise", _bytes(rng.uniform(0, 256, size))
    yield "uniform noise colour", _bytes(rng.uniform(0, 256, (*size, 3)))
    yield "salt and pepper", _bytes(255.0 * (rng.uniform(size=size) < 0.5))
    for cells in (4, 16, 64):
        yield f"smooth noise {cells}", _smooth(size, cells, rng)
    yield "fractal noise", _fractal(size, rng)
    colours = [_fractal(size, rng) for _ in range(3)]
    yield "fractal noise colour", np.stack(colours, axis=-1)
    yield from _regular(size, rng)


def _regular(size: tuple[int, int], rng: np.random.Generator) -> Iterator[tuple[str, Pixels]]:
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float64)
    across, down = columns / size[1], rows / size[0]
    yield "gradient across", _bytes(255 * across)
    yield "gradient down", _bytes(255 * down)
    yield "gradient colour", _bytes(255 * np.stack([across, down, 1 - across], axis=-1))
    for cell in (8, 32):
        yield f"checkerboard {cell}", _bytes(255 * ((rows // cell + columns // cell) % 2))
        yield f"stripes {cell}", _bytes(255 * (columns // cell % 2))
    yield "rings", _bytes(127 + 127 * np.cos(np.hypot(rows, columns) / 6))
    for level in (0, 90, 255):
        yield f"constant {level}", np.full(size, level, np.uint8)
    colour = rng.integers(0, 256, 3, dtype=np.uint8)
    yield "constant colour", np.broadcast_to(colour, (*size, 3)).copy()


def _smooth(size: tuple[int, int], cells: int, rng: np.random.Generator) -> Pixels:
    """Values on a coarse grid, smoothly interpolated and stretched to 0..255."""
    coarse = Image.fromarray(rng.uniform(size=(cells, cells)).astype(np.float32))
    fine = np.asarray(coarse.resize(size[::-1], Image.Resampling.BICUBIC))
    return _bytes(255 * (fine - fine.min()) / (fine.max() - fine.min()))


def _fractal(size: tuple[int, int], rng: np.random.Generator) -> Pixels:
    """Octaves of smooth noise, each twice as fine and half as strong (after Perlin, 1985)."""
    octaves = [_smooth(size, 2 ** (n + 1), rng) / 2.0**n for n in range(6)]
    total = np.sum(octaves, axis=0)
    return _bytes(255 * (total - total.min()) / (total.max() - total.min()))


def _bytes(values: NDArray[np.floating]) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
