"""Volumes: slices of a scan are segmented in batches, a few of them are spoken about.

The way of the data: `VolumeCase` → `SliceView` → `SliceLooker` → consistency, cleaning →
`VolumeResult` → files. Masks come back in the scan's own voxels; nothing is resampled but the
pictures that the model sees.
"""

from __future__ import annotations

from .case import VolumeCase
from .options import SliceOptions
from .result import KeySlice, SliceScore, VolumeResult

__all__ = ["KeySlice", "SliceOptions", "SliceScore", "VolumeCase", "VolumeResult"]
