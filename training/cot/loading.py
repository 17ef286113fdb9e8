"""Items with their pixels, read from the data folder."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.reasoning.facts import Mask

from ..records import Record
from .subject import Item, Subject

KEPT_IMAGES = 8


class SubjectLoader:
    """Reads images and masks; the last few stay in memory, since a record has several items."""

    def __init__(self, folder: Path, records: Iterable[Record]) -> None:
        """Args: folder: that holds the records' images; records: all of the split."""
        self._folder = folder
        self._labels: dict[str, set[str]] = defaultdict(set)
        for record in records:
            if record.diagnosis is not None:
                self._labels[record.dataset].add(record.diagnosis)
        self._kept: OrderedDict[str, tuple[NDArray[np.uint8], dict[str, Mask]]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, item: Item) -> Subject:
        """The item with its pixels.

        Raises:
            Sim4SegError: if a file is missing, cannot be read, or mask and image differ in size.
        """
        with self._lock:
            image, masks = self._pixels(item.record)
        asked = {target: masks[target] for target in item.targets if target in masks}
        return Subject(item, image, asked, frozenset(self._labels[item.record.dataset]))

    def _pixels(self, record: Record) -> tuple[NDArray[np.uint8], dict[str, Mask]]:
        if record.id not in self._kept:
            image = _read(self._folder / record.image, record)
            masks = {
                target: _read(self._folder / name, record, "1").astype(bool)
                for target, name in (record.masks or {}).items()
            }
            for target, mask in masks.items():
                if mask.shape != image.shape[:2]:
                    raise Sim4SegError(
                        f"{record.id}: the mask of the {target} is {mask.shape[1]}×{mask.shape[0]},"
                        f" the image {image.shape[1]}×{image.shape[0]}"
                    )
            self._kept[record.id] = image, masks
        self._kept.move_to_end(record.id)
        while len(self._kept) > KEPT_IMAGES:
            self._kept.popitem(last=False)
        return self._kept[record.id]


def _read(path: Path, record: Record, mode: str | None = None) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as picture:
            kept = mode or ("L" if picture.mode in ("L", "1") else "RGB")
            return np.asarray(picture.convert(kept), dtype=np.uint8)
    except (OSError, ValueError) as error:
        raise Sim4SegError(f"{record.id}: cannot read {path}: {error}") from None
