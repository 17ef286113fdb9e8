"""Labelled volumes as pictures for `run.py prepare`: slices as slice-wise inference shows them.

Writes PNGs and the `records.csv` that the kind `csv` takes, one group per
volume, so that no volume stands in two splits.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from Sim4SegCore.volume.slice_view import PLANES, view_slices
from Sim4SegCore.volume.slices import SlicePictures
from Sim4SegCore.volume.windows import choose_window

from .labelled_volumes import labelled_volumes, read_labelled
from .m3ds.sets.table import NOTHING
from .m3ds.staging import staged_folder

SHORTEST_SIDE = 128
"""Smaller slices are enlarged to it, so that JPEG keeps their edges."""

COLUMNS = ("image", "target", "mask", "group", "split", "modality", "body_part", "licence")


@dataclass(frozen=True)
class SlicesConfig:
    """What the volumes show.

    Attributes:
        target: the structure; every label above 0 belongs to it.
        every: only every n-th slice of each plane.
    """

    target: str
    modality: str
    body_part: str
    licence: str
    split: str = "train"
    every: int = 3


def write_slices(source: Path, target: Path, config: SlicesConfig, overwrite: bool = False) -> int:
    """Cut all volumes of a folder in three planes.

    Returns:
        how many slices were written.

    Raises:
        Sim4SegError: if the folder has no pairs, a label does not lie on its image, a volume
            cannot be read, or the target is in use and must not be replaced.
    """
    pairs = labelled_volumes(source)
    with staged_folder(target, overwrite) as folder:
        for kind in ("images", "masks"):
            (folder / kind).mkdir()
        rows = [
            row
            for image, label in tqdm(pairs, unit="volume")
            for row in _cut(image, label, folder, config)
        ]
        with (folder / "records.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, COLUMNS)
            table.writeheader()
            table.writerows(rows)
    return len(rows)


def _cut(image: Path, label: Path, folder: Path, config: SlicesConfig) -> Iterator[dict[str, str]]:
    case, labels = read_labelled(image, label)
    stem = image.name.removesuffix(".gz").rpartition(".")[0]
    for plane in PLANES:
        view = view_slices(case.geometry, case.shape, plane)
        pictures = SlicePictures(case, view, choose_window(case, ""))
        inside = view.of(labels.voxels) > 0
        for number in range(0, len(pictures), config.every):
            picture = pictures.case(number).image
            name = f"{stem}_{plane}_{number:03}.png"
            _save(picture, folder / "images" / name, picture.shape[:2], Image.Resampling.BICUBIC)
            mask = NOTHING
            if inside[number].any():
                mask = f"masks/{name}"
                painted = inside[number].astype(np.uint8) * 255
                _save(painted, folder / mask, picture.shape[:2], Image.Resampling.BILINEAR)
            yield {
                "image": f"images/{name}",
                "target": config.target,
                "mask": mask,
                "group": stem,
                "split": config.split,
                "modality": config.modality,
                "body_part": config.body_part,
                "licence": config.licence,
            }


def _save(
    pixels: NDArray[np.uint8], path: Path, shape: tuple[int, ...], filter_: Image.Resampling
) -> None:
    scale = max(1.0, SHORTEST_SIDE / min(shape))
    size = (round(shape[1] * scale), round(shape[0] * scale))
    Image.fromarray(pixels).resize(size, filter_).save(path)
