"""Slices that the LVLM reads, and what it would say of those between them.

It sees a slice at the grain of its image tokens, and presence changes slowly along a stack: where
slices lie close together, reading some of them and interpolating costs a fraction.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence

import torch

from .grounding import Reading

READING_MM = 6.0
"""Distance of the slices that are read, where slices are thinner than half of it."""
MAX_STRIDE = 4


def anchor_numbers(worth_looking: Sequence[int], slice_distance: float) -> list[int]:
    """The slices to read, ascending; the first and the last are among them.

    Args:
        worth_looking: numbers of slices, ascending.
        slice_distance: mm between slices.
    """
    stride = min(max(int(READING_MM / slice_distance), 1), MAX_STRIDE)
    anchors: list[int] = []
    for number in worth_looking:
        if not anchors or number - anchors[-1] >= stride or number == worth_looking[-1]:
            anchors.append(number)
    return anchors


class AnchoredReadings:
    """Readings of all slices, from those of anchors, which are read in ascending order."""

    def __init__(self, anchors: Sequence[int], read: Callable[[Sequence[int]], Reading]) -> None:
        """
        Args:
            anchors: numbers of slices, ascending.
            read: reads the first few of the slices that it is given, at least one.
        """
        self._anchors = anchors
        self._read = read
        self._readings: list[Reading] = []
        self.count = 0
        """How many anchors were read so far."""

    @property
    def last(self) -> int:
        """The last slice whose reading is known; -1 before the first."""
        return self._anchors[self.count - 1] if self.count else -1

    @property
    def is_complete(self) -> bool:
        """Whether every anchor was read."""
        return self.count == len(self._anchors)

    def read_more(self) -> None:
        """Read the next few anchors."""
        reading = self._read(self._anchors[self.count :])
        self._readings.append(reading)
        self.count += len(reading.presence_logits)

    def at(self, numbers: Sequence[int]) -> Reading:
        """Readings of slices, ascending, none of them beyond `last`."""
        places = [self._place(number) for number in numbers]
        similarity = torch.cat([reading.similarity for reading in self._readings])
        presence = torch.cat([reading.presence_logits for reading in self._readings])
        below, above = [low for low, _, _ in places], [high for _, high, _ in places]
        share = torch.tensor([share for _, _, share in places])
        return Reading(
            torch.lerp(similarity[below], similarity[above], share[:, None, None]),
            torch.lerp(presence[below], presence[above], share),
        )

    def _place(self, number: int) -> tuple[int, int, float]:
        """Positions of the anchors around a slice, and how far it is on its way between them."""
        above = bisect.bisect_left(self._anchors, number)
        if self._anchors[above] == number:
            return above, above, 0.0
        low, high = self._anchors[above - 1], self._anchors[above]
        return above - 1, above, (number - low) / (high - low)
