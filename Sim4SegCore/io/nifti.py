"""What ITK does not notice in a NIfTI file: a missing end and pixels that are not finite.

Raises whatever is in `NIFTI_ERRORS`; the caller finds the words.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

NIFTI_ERRORS = (EOFError, OSError, ValueError, struct.error, zlib.error)

_FLOATS = {16: "f4", 64: "f8"}
_HEADER, _CHUNK = 540, 1 << 20
"""Bytes that hold the header of either version, and that are read at a time."""


@dataclass(frozen=True)
class NiftiHeader:
    """What a NIfTI file says of its own bytes.

    Attributes:
        shape: (i, j[, k[, t ...]]).
        datatype: NIfTI's code for the type of a pixel.
        offset: where the pixels begin.
        byte_order: "<" or ">".
        spacing: of the first three axes, as stated.
        has_spacing: whether that says how far voxels are apart.
    """

    shape: tuple[int, ...]
    bits: int
    datatype: int
    offset: int
    byte_order: str
    spacing: tuple[float, float, float]
    has_spacing: bool


def read_complete_header(path: Path) -> NiftiHeader:
    """ITK fills the missing part of a truncated NIfTI with noise and says nothing."""
    with _open(path) as stream:
        start = stream.read(_HEADER)
        length = len(start)
        while chunk := stream.read(_CHUNK):
            length += len(chunk)
    header = _parse(start)
    if length < header.offset + math.prod(header.shape) * header.bits // 8:
        raise EOFError("shorter than its header says")
    return header


def holds(path: Path, mask: NDArray[np.uint8]) -> bool:
    """Whether a file's pixels are these, (H, W) or (k, j, i), to the last one."""
    with _open(path) as stream:
        header = _parse(stream.read(_HEADER))
        stream.seek(header.offset)
        left = np.ascontiguousarray(mask).data.cast("B")
        while left and (chunk := stream.read(_CHUNK)):
            if chunk != left[: len(chunk)]:
                return False
            left = left[len(chunk) :]
    return not left


def slice_is_finite(path: Path, header: NiftiHeader, k: int) -> bool:
    """ITK turns NaN and infinity in NIfTI into 0 and says nothing."""
    if header.datatype not in _FLOATS:
        return True
    size = math.prod(header.shape[:2]) * header.bits // 8
    with _open(path) as stream:
        stream.seek(header.offset + k * size)
        data = stream.read(size)
    pixels = np.frombuffer(data, dtype=header.byte_order + _FLOATS[header.datatype])
    return bool(np.isfinite(pixels).all())


def volume_is_finite(path: Path, header: NiftiHeader) -> bool:
    """As `slice_is_finite`, of every voxel; holds a few megabytes at a time."""
    if header.datatype not in _FLOATS:
        return True
    voxel = np.dtype(header.byte_order + _FLOATS[header.datatype])
    left = math.prod(header.shape) * voxel.itemsize
    with _open(path) as stream:
        stream.seek(header.offset)
        while left > 0 and (chunk := stream.read(min(left, 1 << 22))):
            left -= len(chunk)
            if not np.isfinite(np.frombuffer(chunk, dtype=voxel)).all():
                return False
    return True


def _is_spacing(numbers: tuple[float, ...]) -> bool:
    return all(math.isfinite(number) and number != 0 for number in numbers)


def _open(path: Path) -> BinaryIO:
    if path.name.lower().endswith(".gz"):
        return cast(BinaryIO, gzip.open(path, "rb"))
    return path.open("rb")


def _parse(header: bytes) -> NiftiHeader:
    """Read the first 540 bytes of a NIfTI-1 or -2 file."""
    order = "<" if header[:4] in (b"\x5c\x01\0\0", b"\x1c\x02\0\0") else ">"
    (version_size,) = struct.unpack_from(order + "i", header, 0)
    if version_size == 348:
        shape = struct.unpack_from(order + "8h", header, 40)
        datatype, bits = struct.unpack_from(order + "2h", header, 70)
        (offset,) = struct.unpack_from(order + "f", header, 108)
        spacing = struct.unpack_from(order + "3f", header, 80)
    elif version_size == 540:
        shape = struct.unpack_from(order + "8q", header, 16)
        datatype, bits = struct.unpack_from(order + "2h", header, 12)
        (offset,) = struct.unpack_from(order + "q", header, 168)
        spacing = struct.unpack_from(order + "3d", header, 112)
    else:
        raise ValueError("no NIfTI header")
    extent = shape[1 : 1 + shape[0]]
    if not 1 <= shape[0] <= 7 or min(extent) < 1 or not math.isfinite(offset):
        raise ValueError("impossible numbers")
    return NiftiHeader(extent, bits, datatype, int(offset), order, spacing, _is_spacing(spacing))
