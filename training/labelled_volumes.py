"""Pairs of volumes with one name, `images/NAME` and `labels/NAME`, as the Medical Segmentation
Decathlon has them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.io import read_volume_case
from Sim4SegCore.volume.case import VolumeCase


def labelled_volumes(folder: Path) -> list[tuple[Path, Path]]:
    """Image and label files of a folder, in order of name.

    Raises:
        Sim4SegError: if there are none, or a label file is missing.
    """
    images, labels = folder / "images", folder / "labels"
    names = sorted(
        path.name for path in images.glob("*") if path.is_file() and not path.name.startswith(".")
    )
    if not names:
        raise Sim4SegError(f"no volumes in {images}; name a folder with images/ and labels/")
    for name in names:
        if not (labels / name).is_file():
            raise Sim4SegError(
                f"{name} has no label file: {labels} has no {name}; every image needs a label of "
                "its name"
            )
    return [(images / name, labels / name) for name in names]


def read_labelled(image: Path, label: Path) -> tuple[VolumeCase, VolumeCase]:
    """A volume and its labels, voxel for voxel.

    Raises:
        Sim4SegError: if one cannot be read, or the labels lie elsewhere.
    """
    case, labels = read_volume_case(image), read_volume_case(label)
    ours, theirs = ([*g.spacing, *g.origin, *g.direction] for g in (case.geometry, labels.geometry))
    if case.shape != labels.shape or not np.allclose(ours, theirs, atol=1e-3):
        raise Sim4SegError(
            f"the labels of {image.name} do not lie on its voxels; a label that does not lie on "
            "its image has to be resampled to it first"
        )
    return case, labels
