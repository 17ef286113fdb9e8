"""A window of a scan, turned, stretched, shifted and shown otherwise than the scan itself."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from .config import VariationConfig


class Draws:
    """Numbers drawn from one generator."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator

    def within(self, low: float, high: float) -> float:
        """A uniform number."""
        return low + (high - low) * float(torch.rand((), generator=self.generator))

    def chance(self, probability: float) -> bool:
        """True as often as the probability says."""
        return self.within(0, 1) < probability

    def factor(self, most: float) -> float:
        """Between 1 / most and most, as often smaller as larger than 1."""
        return math.exp(self.within(-1, 1) * math.log(most))

    def choose(self, count: int) -> int:
        """A place below `count`."""
        return int(torch.randint(count, (), generator=self.generator))

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers."""
        return torch.randn(*shape, generator=self.generator)


def cut_out(
    channels: Tensor, size: tuple[int, ...], variation: VariationConfig, draws: Draws
) -> Tensor:
    """A window of (C, Z, Y, X): (C, z, y, x), zero beyond the scan.

    The middle of the window lies where the whole window fits into the scan, as far as it does,
    and is then shifted.
    """
    whole = channels.shape[1:]
    middle = [_middle(n, w, variation, draws) for n, w in zip(whole, size, strict=True)]
    turned = _rotation([math.radians(draws.within(-1, 1) * variation.rotation) for _ in range(3)])
    common = draws.factor(variation.scale)
    sizes = torch.tensor([common * draws.factor(variation.stretch) for _ in range(3)])
    if variation.mirror and draws.chance(0.5):
        sizes[2] = -sizes[2]
    # From window voxels to scan voxels, both (z, y, x) from the middle; then to grid_sample's
    # coordinates, which run from -1 to 1 along x, y, z.
    matrix = turned @ torch.diag(sizes)
    window, scan = torch.tensor([float(s) for s in size]), torch.tensor([float(n) for n in whole])
    linear = matrix * window / scan[:, None]
    offset = 2 * torch.tensor(middle) / scan - 1
    theta = torch.cat([linear.flip(0, 1), offset.flip(0)[:, None]], 1)
    grid = F.affine_grid(theta[None], [1, 1, *size], align_corners=False)
    return F.grid_sample(channels[None], grid, padding_mode="zeros", align_corners=False)[0]


def _middle(whole: int, window: int, variation: VariationConfig, draws: Draws) -> float:
    low, high = (window / 2, whole - window / 2) if whole > window else (whole / 2, whole / 2)
    return draws.within(low, high) + draws.within(-variation.shift, variation.shift)


def _rotation(angles: list[float]) -> Tensor:
    turned = torch.eye(3)
    for axis, angle in enumerate(angles):
        a, b = (n for n in range(3) if n != axis)
        around = torch.eye(3)
        around[a, a] = around[b, b] = math.cos(angle)
        around[a, b], around[b, a] = -math.sin(angle), math.sin(angle)
        turned = turned @ around
    return turned


def shown_otherwise(grey: Tensor, variation: VariationConfig, draws: Draws) -> Tensor:
    """Brightness, contrast, gamma, sharpness and noise of (z, y, x) in -1 to 1."""
    light = (grey + 1) / 2
    light = light.clamp(0, 1) ** draws.factor(variation.gamma)
    light = light * draws.factor(1.4) + draws.within(-0.1, 0.1)
    varied = 2 * light - 1
    if draws.chance(variation.inverted):
        varied = -varied
    if draws.chance(variation.blur):
        varied = F.avg_pool3d(varied[None, None], 3, 1, 1, count_include_pad=False)[0, 0]
    varied = varied + draws.within(0, variation.noise) * draws.normal(*grey.shape)
    return varied.clamp(-1, 1)


def stranger_window(picture: Tensor, size: tuple[int, ...], draws: Draws) -> Tensor:
    """A picture as a scan (z, y, x): from plane to plane it moves and fades a little."""
    side = picture.shape[0]
    zoom = draws.factor(1.5)
    drift = [draws.within(-1, 1) / side for _ in range(2)]
    start = [draws.within(-0.3, 0.3) for _ in range(2)]
    planes = torch.arange(size[0], dtype=torch.float32)
    theta = torch.zeros(size[0], 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = zoom * size[2] / side, zoom * size[1] / side
    for axis in range(2):
        theta[:, axis, 2] = start[axis] + 2 * drift[axis] * planes
    grid = F.affine_grid(theta, [size[0], 1, *size[1:]], align_corners=False)
    moved = F.grid_sample(
        picture.expand(size[0], 1, -1, -1), grid, padding_mode="reflection", align_corners=False
    )[:, 0]
    order = [[0, 1, 2], [1, 0, 2], [1, 2, 0]][draws.choose(3)]
    if size[0] == size[1] == size[2]:
        moved = moved.permute(*order)
    return moved
