"""What a download says about its images, before a pixel is read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from Sim4SegCore.errors import Sim4SegError

from .masks import MaskSpec

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".ppm"})
NESTING = 2
"""How many folders deep an archive may have unpacked itself below the configured folder."""


@dataclass(frozen=True)
class Absent:
    """An empty mask of this case is no mistake; it means this diagnosis."""

    diagnosis: str | None


@dataclass(frozen=True)
class RawCase:
    """One image of a download.

    Attributes:
        id: unique within the set.
        findings: target -> masks that are united; empty = nothing to segment; None = the set has
            no mask for this image.
        group: patient or source image, the same string in every set that shows it; cases of one
            group never stand in two splits.
        split: the set's own split; None lets the builder choose.
        modality, body_part, licence: None takes the set's.
        if_empty: what a mask without foreground means; None reports it as a mistake.
    """

    id: str
    image: Path
    findings: Mapping[str, tuple[MaskSpec, ...]] | None
    diagnosis: str | None
    group: str
    split: Split | None = None
    modality: str | None = None
    body_part: str | None = None
    licence: str | None = None
    if_empty: Absent | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Skipped:
    """A case that cannot be used, and why; `reason` is the same text for the same mistake."""

    case: str
    reason: str


class Source(ABC):
    """One set in its original layout.

    Subclasses say what they are in class variables and list cases lazily. What is wrong with one
    case is yielded as `Skipped`; what is wrong with the whole download is raised as Sim4SegError.

    Attributes:
        kind: name in the configuration.
        marker: file or folder that shows where the download's root is.
        download: where the set comes from, for messages.
    """

    kind: ClassVar[str]
    modality: ClassVar[str]
    body_part: ClassVar[str]
    licence: ClassVar[str]
    marker: ClassVar[str]
    download: ClassVar[str]

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder

    @abstractmethod
    def cases(self) -> Iterator[RawCase | Skipped]:
        """Every image that the download lists, in a fixed order."""

    @property
    def is_there(self) -> bool:
        """Whether the folder exists and is not empty."""
        return self.folder.is_dir() and any(self.folder.iterdir())

    @cached_property
    def root(self) -> Path:
        """The folder that holds `marker`: the configured one or one inside it.

        Raises:
            Sim4SegError: if there is none.
        """
        level = [self.folder]
        for _ in range(NESTING + 1):
            for folder in level:
                if (folder / self.marker).exists():
                    return folder
            level = [f for parent in level for f in sorted(parent.iterdir()) if f.is_dir()]
        raise Sim4SegError(
            f"{self.name}: no '{self.marker}' in {self.folder} or up to {NESTING} folders below; "
            f"unpack the whole download there ({self.download})"
        )

    def require(self, relative: str) -> Path:
        """A part of the download that it cannot do without.

        Raises:
            Sim4SegError: if it is missing.
        """
        path = self.root / relative
        if not path.exists():
            raise Sim4SegError(
                f"{self.name}: '{relative}' is missing in {self.root}; the archive is only partly "
                f"unpacked, or not the original ({self.download})"
            )
        return path


def images_in(folder: Path) -> dict[str, Path]:
    """Image files of a folder by stem, sorted; resource forks and thumbnails left out."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return {
        path.stem: path
        for path in paths
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    }
