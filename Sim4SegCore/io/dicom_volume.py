"""A DICOM series or a multi-frame file as one volume."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..case import Case
from ..volume.case import VolumeCase
from .checks import check_voxel_count, grey_plane, make_volume
from .dicom import frame_count, is_monochrome1, load_dicom, mirror, read_stored_frame
from .dicom_folder import image_headers
from .dicom_header import Header
from .dicom_series import Stack, choose_series, order_slices
from .problems import cannot_read

_INT16 = np.iinfo(np.int16)


def read_dicom_volume(path: Path, series: int | None) -> VolumeCase:
    """The volume of a multi-frame file, or of a folder's only or chosen series."""
    if not path.is_dir():
        return _read_multi_frame(path)
    headers = image_headers(path)
    if not headers:
        raise cannot_read(path, "the folder holds no DICOM image; give one that does")
    group = choose_series(path, headers, series)
    if len(group) == 1:
        return _read_multi_frame(group[0].path)
    stack = order_slices(path, group)
    return _volume(path, stack, (load_dicom(frame.path) for frame in stack.frames))


def _read_multi_frame(path: Path) -> VolumeCase:
    header = load_dicom(path)
    count = frame_count(header)
    if count < 2:
        raise cannot_read(path, "it holds a single slice; ask it as an image, without --mode")
    frames = [replace(header, frame=index) for index in range(count)]
    if "PerFrameFunctionalGroupsSequence" not in header.dataset:
        raise cannot_read(
            path,
            f"its {count} frames do not say where they lie (a film, or pictures of a screen); "
            "choose one with --slice, without --mode",
        )
    stack = order_slices(path, frames)
    return _volume(path, stack, iter(stack.frames))


def _volume(path: Path, stack: Stack, loaded: Iterator[Header]) -> VolumeCase:
    header = stack.frames[0]
    shape = (len(stack.frames), int(header.number("Rows", 0.0)), int(header.number("Columns", 0.0)))
    check_voxel_count(path, shape[::-1])
    first = next(loaded)
    case = read_stored_frame(first)
    voxels = _stacked(path, shape, case, _read_like(path, first, loaded))
    window = mirror(voxels, case.window) if is_monochrome1(first) else case.window
    return make_volume(
        path,
        voxels,
        geometry=stack.geometry,
        modality=case.modality,
        body_part=_body_part(header),
        window=window,
        mask_suffix=".nii.gz",
        warnings=stack.warnings,
    )


def _read_like(path: Path, first: Header, others: Iterator[Header]) -> Iterator[Case]:
    for header in others:
        if is_monochrome1(header) != is_monochrome1(first):
            raise cannot_read(
                path, "only some of its slices are MONOCHROME1; keep those of one stack"
            )
        yield read_stored_frame(header)


def _stacked(
    path: Path, shape: tuple[int, int, int], first: Case, others: Iterator[Case]
) -> NDArray[Any]:
    """Slices one by one into one array, in the smallest type that holds all of them."""
    voxels = np.empty(shape, dtype=_narrow(grey_plane(path, first.image)).dtype)
    for k, case in enumerate(chain([first], others)):
        plane = _narrow(grey_plane(path, case.image))
        common = np.result_type(voxels.dtype, plane.dtype)
        if common != voxels.dtype:
            voxels = voxels.astype(common)
        voxels[k] = plane
    return voxels


def _narrow(plane: NDArray[Any]) -> NDArray[Any]:
    """Half the memory for what fits into 16 bits, as all CT does."""
    if plane.dtype == np.int32 and _INT16.min <= plane.min() and plane.max() <= _INT16.max:
        return plane.astype(np.int16)
    return plane


def _body_part(header: Header) -> str | None:
    return header.text("BodyPartExamined").strip().lower() or None
