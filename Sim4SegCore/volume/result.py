"""What one query about one volume gives back. Plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..case import Diagnosis, Familiarity, Finding, ModelIdentity, Query
from .case import VolumeCase
from .slice_view import SliceView
from .windows import Window


@dataclass(frozen=True)
class SliceScore:
    """One slice.

    Attributes:
        index: along the volume's own axis.
        presence: 0..1 as the model judged this slice alone, or in mode `volume` the likeliest
            window through it; None if it was not looked at.
        is_interpolated: the LVLM did not read this thin slice; its presence lies between those of
            the nearest ones that it read.
        area_mm2: of the final mask on it.
    """

    index: int
    presence: float | None
    area_mm2: float
    is_interpolated: bool = False


@dataclass(frozen=True)
class KeySlice:
    """A slice that the language model answered the query on.

    Attributes:
        index: along the volume's own axis.
        reason: why this one, for people.
        weight: its share in the volume's diagnosis; all together are 1.
        diagnosis: of this slice alone.
        reasoning: of this slice alone.
    """

    index: int
    reason: str
    weight: float
    diagnosis: Diagnosis
    reasoning: str


@dataclass(frozen=True)
class Cleaning:
    """What was changed in a mask after all slices were put together.

    Attributes:
        islands_removed: parts that did not touch the rest and were small against the largest.
        island_voxels: of those parts together.
        hole_voxels: that the mask enclosed on all sides and were filled.
        parts: that are left.
    """

    islands_removed: int = 0
    island_voxels: int = 0
    hole_voxels: int = 0
    parts: int = 0


@dataclass(frozen=True)
class VolumeResult:
    """The answer about a volume.

    Attributes:
        findings: their masks are bool (k, j, i) on the case's own voxels.
        reasoning: of the key slice that counts most among those that name the diagnosis.
        view: along which axis the slices were taken.
        slices: every slice in the order of the volume's own axis.
        key_slices: those the diagnosis comes from, the weightiest first.
        cleaning: what islands and holes were changed in the mask.
        mode: see `SliceOptions`.
        planes: whose slices were looked at, the view's first.
        is_complete: False if it was stopped early and not everything was looked at.
        timing: seconds by stage.
        warnings: sentences the user should read before trusting the result.
        familiarity: the median of the slices that the LVLM read, see `familiarity`; None if the
            checkpoint cannot tell, or they show too little.
    """

    case: VolumeCase
    query: Query
    diagnosis: Diagnosis
    reasoning: str
    findings: tuple[Finding, ...]
    model: ModelIdentity
    view: SliceView
    window: Window
    slices: tuple[SliceScore, ...]
    key_slices: tuple[KeySlice, ...]
    cleaning: Cleaning
    mode: str = "slices"
    planes: tuple[str, ...] = ()
    is_complete: bool = True
    timing: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    familiarity: Familiarity | None = None

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Union of all findings, bool (k, j, i)."""
        if len(self.findings) == 1:
            return self.findings[0].mask
        union = np.zeros(self.case.shape, dtype=bool)
        for finding in self.findings:
            union |= finding.mask
        return union

    @property
    def slice_range(self) -> tuple[int, int] | None:
        """First and last slice with a mask, along the volume's own axis; None without a mask."""
        marked = [score.index for score in self.slices if score.area_mm2 > 0]
        return (min(marked), max(marked)) if marked else None

    def save(self, folder: str | Path, overwrite: bool = False) -> Path:
        """Write mask, overlay and result.json; see `volume.output.save_volume_result`."""
        from .output import save_volume_result

        return save_volume_result(self, Path(folder), overwrite=overwrite)
