"""Slices of a volume as the pictures that a model sees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..case import Case, Geometry
from ..frame import Frame
from .case import VolumeCase
from .slice_view import SliceView
from .windows import Window

_SQUARE = 1.02
"""Pixels whose sides differ by less are taken for square."""


class SlicePictures:
    """Windowed slices, made when they are asked for."""

    def __init__(self, case: VolumeCase, view: SliceView, window: Window) -> None:
        self._voxels = view.of(case.voxels)
        self._case = case
        self.view = view
        self.shape = case.shape
        self._window = window
        self.size: tuple[int, int] = (self._voxels.shape[1], self._voxels.shape[2])
        self.modality = case.apparent_modality

    def __len__(self) -> int:
        return len(self._voxels)

    def frame(self, side: int) -> Frame:
        """The whole slice in its physical proportions, its longest side scaled to `side`."""
        _, down, across = self.view.spacing
        height, width = self.size[0] * down, self.size[1] * across
        scale = side / max(height, width)
        content = (max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5)))
        return Frame((0, 0, *self.size), content, side)

    def framed(self, numbers: Sequence[int], frame: Frame) -> Tensor:
        """Slices in a frame, uint8 (B, 3, side, side)."""
        shown = [self._shown(number) for number in numbers]
        stack = torch.from_numpy(np.stack(shown))
        if stack.ndim == 3:
            return frame.apply(stack)[:, None].expand(-1, 3, -1, -1).contiguous()
        channels = stack.permute(0, 3, 1, 2).flatten(0, 1)
        return frame.apply(channels).unflatten(0, (len(shown), 3))

    def case(self, number: int) -> Case:
        """One slice as an image of its own with square pixels, to be asked about."""
        _, down, across = self.view.spacing
        shown = self._shown(number)
        fine = min(down, across)
        if max(down, across) > _SQUARE * fine:
            pixels = torch.from_numpy(np.atleast_3d(shown)).permute(2, 0, 1)[None]
            height, width = (
                round(shown.shape[0] * down / fine),
                round(shown.shape[1] * across / fine),
            )
            resized = F.interpolate(pixels, (height, width), mode="bilinear", antialias=True)
            shown = resized[0].permute(1, 2, 0).numpy()
            shown = shown if self._case.is_colour else shown[..., 0]
            down = across = fine
        place = Geometry(
            (across, down, self.view.spacing[0]),
            (0.0, 0.0, 0.0),
            (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
        )
        return Case(shown, geometry=place, modality=self._case.modality)

    def worth_looking(self) -> list[int]:
        """Slices that show anything, ascending."""
        return [number for number in range(len(self)) if not self.is_empty(number)]

    def is_empty(self, number: int) -> bool:
        """Whether the slice shows nothing at all, such as those beyond a reformatted scan."""
        shown = self._shown(number)
        return bool(shown.min() == shown.max())

    def _shown(self, number: int) -> NDArray[np.uint8]:
        plane = self._voxels[number]
        return np.ascontiguousarray(plane) if self._case.is_colour else self._window.to_uint8(plane)
