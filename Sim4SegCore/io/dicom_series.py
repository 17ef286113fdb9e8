"""Which series a DICOM folder holds, and how the slices of one lie behind each other."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..case import Geometry
from .dicom_header import Header
from .dicom_place import (
    IN_PATIENT,
    IN_SWEEP,
    PlaceKeywords,
    frame_geometry,
    place_along_normal,
    plane_of,
)
from .problems import cannot_read

_MISSING = 1.5
"""A step that is so many times the usual one hides a slice."""
_UNEVEN = 0.01
_UNUSABLY_UNEVEN = 0.1
_COSINE_TOLERANCE = 1e-3
_SHEAR = 0.01
"""Sideways shift per mm along the normal; gantry tilts of CT are far larger."""
_NOT_OF_PATIENT = (
    "the file places its frames in the ultrasound volume's own coordinates; names of planes and "
    "directions are not the patient's"
)


@dataclass(frozen=True)
class Stack:
    """Slices in the order of k, evenly spaced.

    Attributes:
        frames: one header per slice.
        geometry: of the whole stack.
        warnings: sentences on what was put right.
    """

    frames: list[Header]
    geometry: Geometry
    warnings: tuple[str, ...] = ()


def choose_series(folder: Path, headers: list[Header], chosen: int | None) -> list[Header]:
    """The slices of the only series, or of series `chosen` as listed, from 1.

    Series of one image, such as localisers that share the folder, are left out where there is a
    longer one.

    Raises:
        Sim4SegError: if there are several and none was chosen; the message lists them.
    """
    series = _by_series(headers)
    if chosen is None and len(series) > 1:
        listed = "; ".join(f"{n}: {_describe(group)}" for n, group in enumerate(series, 1))
        raise cannot_read(
            folder, f"it holds {len(series)} series, choose one with --series N ({listed})"
        )
    if chosen is not None and not 1 <= chosen <= len(series):
        raise cannot_read(
            folder, f"there is no series {chosen}; --series must be 1 to {len(series)}"
        )
    return series[(chosen or 1) - 1]


def order_slices(path: Path, frames: list[Header]) -> Stack:
    """Sort slices along their normal, whatever order they come in.

    Raises:
        Sim4SegError: if they do not lie on one regular grid: missing slices, several at one
            place, different orientations or sizes, a tilted gantry.
    """
    keywords = _place_keywords(frames[0])
    _check_same_plane(path, frames, keywords)
    places = [place_along_normal(frame, keywords) for frame in frames]
    if None in places:
        raise cannot_read(path, f"its slices do not say where they lie; {_one_slice(path)}")
    along = np.array(places, dtype=float)
    ordered = [frames[n] for n in np.argsort(along, kind="stable")]
    distance, warnings = _distance(path, np.sort(along))
    first = frame_geometry(ordered[0], keywords)
    if first is None:
        raise cannot_read(path, f"it has no PixelSpacing to measure in mm; {_one_slice(path)}")
    end = np.asarray(ordered[-1].numbers(keywords.position))
    _check_no_shear(path, first, end)
    spacing = (first.spacing[0], first.spacing[1], distance)
    if keywords is IN_SWEEP:
        warnings = (*warnings, _NOT_OF_PATIENT)
    return Stack(ordered, Geometry(spacing, first.origin, first.direction), warnings)


def _by_series(headers: list[Header]) -> list[list[Header]]:
    groups: dict[tuple[float, str], list[Header]] = defaultdict(list)
    for header in headers:
        number = header.number("SeriesNumber", default=math.inf)
        groups[number, header.text("SeriesInstanceUID")].append(header)
    ordered = [groups[key] for key in sorted(groups)]
    stacks = [group for group in ordered if len(group) > 1 or _is_multi_frame(group[0])]
    return stacks or ordered


def _is_multi_frame(header: Header) -> bool:
    return header.number("NumberOfFrames", default=1.0) > 1


def _describe(group: list[Header]) -> str:
    """Words of the header that identify nobody."""
    header = group[0]
    number = header.number("SeriesNumber", default=math.nan)
    frames = int(header.number("NumberOfFrames", default=1.0)) or 1
    width, height = header.number("Columns", 0.0), header.number("Rows", 0.0)
    planes = {plane_of(header) for header in group}
    distance = _usual_distance(group) if len(planes) == 1 else None
    words = [
        f"series number {number:.0f}" if math.isfinite(number) else None,
        header.text("Modality") or "unknown modality",
        planes.pop() if len(planes) == 1 else "several planes",
        f"{len(group) * frames} slices of {width:.0f}x{height:.0f}",
        f"{distance:.3g} mm apart" if distance else None,
    ]
    return ", ".join(word for word in words if word)


def _usual_distance(group: list[Header]) -> float:
    """mm between neighbours, measured where places are known; 0 where nothing says it."""
    places = {place_along_normal(header) for header in group}
    steps = np.diff(sorted(place for place in places if place is not None))
    stated = group[0].number("SpacingBetweenSlices", default=0.0)
    return float(np.median(steps)) if len(steps) else max(stated, 0.0)


def _one_slice(path: Path) -> str:
    """How to ask what is no volume: slices of a folder are only known by their places."""
    one = "ask one of its files" if path.is_dir() else "choose one with --slice"
    return f"{one}, without --mode"


def _place_keywords(header: Header) -> PlaceKeywords:
    """The patient's coordinates, or else those of an ultrasound volume."""
    is_sweep = not header.numbers(IN_PATIENT.position) and header.numbers(IN_SWEEP.position)
    return IN_SWEEP if is_sweep else IN_PATIENT


def _check_same_plane(path: Path, frames: list[Header], keywords: PlaceKeywords) -> None:
    sizes = {(frame.number("Rows", 0.0), frame.number("Columns", 0.0)) for frame in frames}
    spacings = {frame.numbers("PixelSpacing") for frame in frames}
    if len(sizes) > 1 or len(spacings) > 1:
        raise cannot_read(path, "its slices differ in size or spacing; keep those of one stack")
    cosines = [frame.numbers(keywords.orientation) for frame in frames]
    if len(set(map(len, cosines))) > 1 or (
        cosines[0] and np.ptp(np.array(cosines), axis=0).max() > _COSINE_TOLERANCE
    ):
        raise cannot_read(path, "its slices are turned against each other; keep those of one stack")


def _distance(path: Path, places: NDArray[np.float64]) -> tuple[float, tuple[str, ...]]:
    """mm between neighbours; where they vary a little, their mean and a word on it."""
    steps = np.diff(places)
    if steps.min() <= 0:
        raise cannot_read(
            path,
            "several of its slices lie at the same place (time series or several echoes); "
            "keep one of each",
        )
    usual = float(np.median(steps))
    missing = int(np.rint(steps[steps > _MISSING * usual] / usual - 1).sum())
    if missing:
        raise cannot_read(
            path,
            f"about {missing} of its slices are missing between the others; copy the whole "
            "series again",
        )
    mean = float(places[-1] - places[0]) / len(steps)
    spread = float(np.abs(steps - mean).max()) / mean
    if spread > _UNUSABLY_UNEVEN:
        raise cannot_read(
            path, "its slices are unevenly spaced; resample it onto a regular grid first"
        )
    if spread <= _UNEVEN:
        return mean, ()
    return mean, (f"the distance between slices varies by {spread:.0%}; {mean:.4g} mm were taken",)


def _check_no_shear(path: Path, first: Geometry, end: NDArray[np.float64]) -> None:
    way = end - np.asarray(first.origin)
    cosines = np.asarray(first.direction).reshape(3, 3)
    sideways, along = cosines[:, :2].T @ way, cosines[:, 2] @ way
    if np.abs(sideways).max() > _SHEAR * along + 0.01:
        raise cannot_read(
            path, "its slices are shifted sideways (tilted gantry); resample it first"
        )
