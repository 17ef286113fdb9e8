"""Which of a tree's DICOM files make a study.

Ids are hashes of UIDs: neither names nor UIDs of a header reach folder names or logs.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import Sim4SegError
from ..io.quiet import quiet_python
from ..io.suffixes import DICOM_SUFFIXES
from .naming import short_hash
from .studies import Study

_KEYWORDS = [
    "Rows",
    "NumberOfFrames",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
]
_MAGIC_END = 132


@dataclass(frozen=True)
class _Image:
    """What one header says.

    Attributes:
        place: mm along the normal of the slice; None if the header does not say.
    """

    path: Path
    series: str
    instance: str
    frames: int
    place: float | None


def may_be_dicom(path: Path) -> bool:
    """By its suffix, or, for the names that scanners give, by its first bytes."""
    suffix = path.suffix.lower()
    if suffix in DICOM_SUFFIXES:
        return True
    # Text and scripts have suffixes too; UIDs and numbers as names are a scanner's habit.
    if suffix and not suffix[1:].isdigit():
        return False
    try:
        with path.open("rb") as stream:
            return stream.read(_MAGIC_END)[128:] == b"DICM"
    except OSError:
        return False


def dicom_studies(root: Path, files: Sequence[Path], slice_index: int | None) -> list[Study]:
    """Studies among the files of a tree.

    A series of slices that lie side by side is one study, of which `slice_index` is looked
    at, whether it fills a folder, shares one or is split over several; of any other series
    (radiographs, photographs) every file is one. Files that claim to be DICOM but are damaged
    become studies too, so that they are reported. Objects without pixels (reports, plans,
    indices) are left out.
    """
    studies: list[Study] = []
    series: dict[str, list[_Image]] = defaultdict(list)
    for file in files:
        inside = file.relative_to(root).as_posix()
        try:
            image = _read_header(file)
        except Sim4SegError:
            studies.append(Study(inside, inside, file))
            continue
        if image is not None:
            series[image.series or inside].append(image)
    for uid, images in series.items():
        for group in _together(images):
            studies += _series_studies(root, f"series-{short_hash(uid)}", group, slice_index)
    return studies


def _together(images: list[_Image]) -> list[list[_Image]]:
    """A series that is split over folders in one, the copies of one in several each alone."""
    if _is_stack(images):
        return [images]
    folders: dict[Path, list[_Image]] = defaultdict(list)
    for image in images:
        folders[image.path.parent].append(image)
    return list(folders.values())


def _is_stack(images: list[_Image]) -> bool:
    places = {image.place for image in images}
    return len(images) > 1 and None not in places and len(places) == len(images)


def _series_studies(
    root: Path, name: str, images: list[_Image], slice_index: int | None
) -> list[Study]:
    if _is_stack(images):
        folder = Path(os.path.commonpath([image.path.parent for image in images]))
        inside, files = folder.relative_to(root).as_posix(), tuple(image.path for image in images)
        return [Study(name, inside, folder, slice_index, files=files)]
    studies = []
    for image in images:
        inside = image.path.relative_to(root).as_posix()
        part = "" if len(images) == 1 else f"-{short_hash(image.instance or inside)}"
        chosen = slice_index if image.frames > 1 else None
        studies.append(Study(name + part, inside, image.path, chosen))
    return studies


def tell_apart(studies: Sequence[Study]) -> list[Study]:
    """Copies of one series in several places get their place's hash added to their ids."""
    counts = Counter(study.id for study in studies)
    return [
        replace(study, id=f"{study.id}-{short_hash(study.image)}")
        if counts[study.id] > 1
        else study
        for study in studies
    ]


def _read_header(path: Path) -> _Image | None:
    """None for DICOM objects that hold no image.

    Raises:
        Sim4SegError: if it cannot be read.
    """
    from pydicom import dcmread

    from ..io.dicom_header import DICOM_ERRORS, Header
    from ..io.dicom_place import place_along_normal
    from ..io.problems import decoding

    with quiet_python(), decoding(path, "DICOM", DICOM_ERRORS):
        dataset = dcmread(path, force=True, stop_before_pixels=True, specific_tags=_KEYWORDS)
        header = Header(path, dataset)
        if not dataset and not dataset.file_meta:
            # With force, a file of any other kind is an empty dataset.
            raise Sim4SegError("no DICOM")
        if "Rows" not in dataset:
            return None
        frames = 1
        with contextlib.suppress(*DICOM_ERRORS):
            frames = int(dataset.get("NumberOfFrames") or 1)
        return _Image(
            path=path,
            series=header.text("SeriesInstanceUID"),
            instance=header.text("SOPInstanceUID"),
            frames=frames,
            place=place_along_normal(header),
        )
