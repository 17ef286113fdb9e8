"""What the networks see of a record in one sample: one turn, a window for each, one colouring."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from Sim4SegCore.frame import Frame, content_mask
from Sim4SegCore.modeling.sim4seg import Sim4SegConfig

from .config import SamplingConfig
from .degrading import Degradation
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

Change = Colouring | Degradation
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


@dataclass(frozen=True)
class SampleViews:
    """Image and mask after the turn, and what LVLM and SAM see of them.

    Attributes:
        image: uint8 (H, W) or (H, W, 3).
        mask: uint8 (H, W), 0 or 255; None where there is none or it is unknown.
    """

    image: Pixels
    mask: Pixels | None
    lvlm_frame: Frame
    sam_frame: Frame

    @cached_property
    def seen_mask(self) -> Pixels:
        """The mask as the LVLM sees it, uint8 (S, S), 0 to 255; empty where there is none."""
        side = self.lvlm_frame.side
        if self.mask is None:
            return np.zeros((side, side), np.uint8)
        return crop(self.mask, self.lvlm_frame, side)

    def drawn_mask(self, size: int) -> Pixels:
        """The mask as SAM sees it, uint8 (size, size), 0 to 255; empty where there is none."""
        if self.mask is None:
            return np.zeros((size, size), np.uint8)
        return crop(self.mask, self.sam_frame, size)

    def shows_finding(self) -> bool:
        """Whether the LVLM sees enough of the mask to be asked for it; true where unknown."""
        return self.mask is None or int((self.seen_mask > 127).sum()) >= PRESENT_PIXELS


class ViewMaker:
    """Draws views of records; the same randomness gives the same views."""

    def __init__(
        self,
        sampling: SamplingConfig,
        model: Sim4SegConfig,
        store: ImageStore,
        variation: Variation,
    ) -> None:
        self.sampling = sampling
        self.model = model
        self.store = store
        self.variation = variation

    def draw(
        self, record: Record, target: str, mismatched: bool, rng: random.Random
    ) -> SampleViews:
        """Views for one question.

        Args:
            mismatched: the target belongs to another organ, there is nothing to find.
        """
        image = self.store.image(record)
        has_mask = record.masks is not None and target in record.masks
        mask = self.store.mask(record, target) if has_mask else None
        sampling = self.sampling
        detail = self.is_detail(target, mismatched)
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
        return SampleViews(
            image,
            mask,
            Frame.of_window(window, self.model.lvlm.image_size),
            Frame.of_window(sam_window, self.model.segmenter.image_size),
        )

    def is_detail(self, target: str, mismatched: bool) -> bool:
        """Whether the target is thin, and segmented in tiles at inference."""
        return target in self.sampling.detail_targets and not mismatched

    def changes(self, record: Record, rng: random.Random) -> list[Change]:
        """What happens to the pixels of every view of a sample."""
        changes: list[Change] = []
        if self.variation.colour:
            changes.append(Colouring.draw(record.modality, rng))
        if self.variation.degraded and rng.random() < self.variation.degraded:
            changes.append(Degradation.draw(rng))
        return changes


def rendered(image: Pixels, frame: Frame, changes: Sequence[Change]) -> Pixels:
    """A frame's view as a network gets it, uint8 (S, S, 3)."""
    framed = crop(image, frame, frame.side)
    rgb = framed if framed.ndim == 3 else np.repeat(framed[..., None], 3, axis=-1)
    for change in changes:
        rgb = change(rgb, _shown(frame))
    return rgb


def _shown(frame: Frame) -> NDArray[np.bool_]:
    shown: Tensor = content_mask(frame, frame.side)
    return shown.numpy().astype(bool)
