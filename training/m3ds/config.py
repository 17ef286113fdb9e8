"""What to build, from where and how."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from Sim4SegCore.errors import Sim4SegError

from .source import SPLITS, Split


@dataclass(frozen=True)
class SetConfig:
    """One set.

    Attributes:
        folder: where it is unpacked, relative to `downloads`; default: the set's name.
        kind: which reader, where the name is not one; `csv` for a table of your own.
        longest_side: limit of its images in pixels; default: the builder's.
    """

    folder: str | None = None
    kind: str | None = None
    enabled: bool = True
    longest_side: int | None = None


@dataclass(frozen=True)
class Fractions:
    """Parts of the images that the builder may distribute; the paper's 12,000/2,284/1,864."""

    train: float = 0.74
    val: float = 0.14
    test: float = 0.12

    def __post_init__(self) -> None:
        parts = self.as_dict().values()
        if min(parts) < 0 or not math.isclose(sum(parts), 1.0, abs_tol=1e-6):
            raise Sim4SegError(f"fractions must not be negative and sum to 1, not {sum(parts):g}")

    def as_dict(self) -> dict[Split, float]:
        """Fraction by split."""
        return dict(zip(SPLITS, (self.train, self.val, self.test), strict=True))


@dataclass(frozen=True)
class PrepareConfig:
    """A build.

    Attributes:
        downloads: folder that the sets' folders are relative to.
        output: data folder; the build is its `m3ds`, so that SIM4SEG_DATA can name it.
        official_splits: keep a set's own test or validation part.
        longest_side: images are shrunk to it, never enlarged.
        duplicate_correlation: images of two splits whose thumbnails correlate more are the same;
            the one in the less protected split is left out.
        max_skipped: fraction of a set that may be unusable before the build is given up.
        missing: whether a set whose folder is not there stops the build.
        overwrite: replace an earlier build once the new one is complete.
        workers: processes; 0 takes one per core.
        plugins: modules or files that register more sets.
        only: names of the sets to build; empty takes all that are enabled.
        examples: images per set in the contact sheet.
    """

    downloads: str = "downloads"
    output: str = "data"
    seed: int = 0
    fractions: Fractions = field(default_factory=Fractions)
    official_splits: bool = True
    longest_side: int = 1024
    jpeg_quality: int = 90
    duplicate_correlation: float = 0.985
    max_skipped: float = 0.05
    missing: Literal["error", "skip"] = "error"
    overwrite: bool = False
    workers: int = 0
    plugins: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    examples: int = 4
    sets: dict[str, SetConfig] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sides = [self.longest_side, *(s.longest_side or 64 for s in self.sets.values())]
        if min(sides) < 32:
            raise Sim4SegError("longest_side must be at least 32 pixels")
        if not 1 <= self.jpeg_quality <= 100:
            raise Sim4SegError("jpeg_quality must be within 1..100")
        if not 0 <= self.max_skipped <= 1:
            raise Sim4SegError("max_skipped must be within 0..1")
        if self.workers < 0:
            raise Sim4SegError("workers must be 0 (one per core) or more")
