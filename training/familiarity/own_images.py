"""Images and volumes of the user's own, to be judged beside the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from Sim4SegCore.batch.studies import Study, find_studies
from Sim4SegCore.case import Case
from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.io import read_case
from Sim4SegCore.io.suffixes import PICTURE_SUFFIXES
from Sim4SegCore.io.volumes import read_volume_case
from Sim4SegCore.volume.options import SliceOptions
from Sim4SegCore.volume.plane_voting import looks_along_all
from Sim4SegCore.volume.slice_view import PLANES, view_slices
from Sim4SegCore.volume.slices import SlicePictures
from Sim4SegCore.volume.windows import choose_window

from .outside_images import OutsideImage

SLICES = 40
"""Of each volume, evenly spread over those that show anything."""


def own_images(places: Sequence[Path]) -> Iterator[OutsideImage]:
    """Pictures as they are, volumes slice by slice as slice-wise inference shows them.

    Args:
        places: image or volume files, or folders; each is a kind of its own.

    Raises:
        Sim4SegError: if there is nothing that can be read at one of them.
    """
    for place in places:
        for source in _sources(place):
            for number, (case, modality) in enumerate(_cases(source)):
                name = f"{source.name} {number}"
                yield OutsideImage(place.absolute().name, name, case, modality)


def _sources(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    found: list[Study] = [*find_studies(place)]
    return list(dict.fromkeys(study.source for study in found))


def _cases(source: Path) -> Iterator[tuple[Case, str | None]]:
    """Images with their modality."""
    if source.name.lower().endswith(PICTURE_SUFFIXES):
        case = read_case(source)
        yield case, case.apparent_modality
        return
    try:
        volume = read_volume_case(source)
    except Sim4SegError:
        case = read_case(source)  # a single slice, or a second reason to refuse it
        yield case, case.apparent_modality
        return
    window = choose_window(volume, "")
    planes = PLANES if looks_along_all(volume, SliceOptions()) else ("auto",)
    for plane in planes:
        view = view_slices(volume.geometry, volume.shape, plane)
        pictures = SlicePictures(volume, view, window)
        shown = pictures.worth_looking()
        count = min(SLICES // len(planes), len(shown))
        for place in np.unique(np.linspace(0, len(shown) - 1, count).round()):
            yield pictures.case(shown[int(place)]), pictures.modality
