"""One DICOM file: pixels in the modality's units, window and place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)

from ..case import Case
from .checks import check_pixel_count, choose_slice, make_case
from .dicom_header import DICOM_ERRORS, Header
from .dicom_place import frame_geometry
from .problems import cannot_read, decoding
from .suffixes import SUPPORTED

_Window = tuple[float, float]


def read_dicom(path: Path, slice_index: int | None) -> Case:
    """The image, or frame `slice_index` of several."""
    header = load_dicom(path)
    return read_frame(replace(header, frame=choose_slice(path, frame_count(header), slice_index)))


def load_dicom(path: Path) -> Header:
    """The whole file, its pixels not decoded yet."""
    return Header(path, _load(path))


def frame_count(header: Header) -> int:
    """How many images the file holds."""
    return int(header.number("NumberOfFrames", default=0)) or 1


def read_frame(header: Header) -> Case:
    """The image that the header speaks of, bright where it is meant to be bright."""
    case = read_stored_frame(header)
    if not is_monochrome1(header):
        return case
    pixels = case.image.copy()
    window = mirror(pixels, case.window)
    return replace(case, image=pixels, window=window)


def read_stored_frame(header: Header) -> Case:
    """The image that the header speaks of, MONOCHROME1 as it is stored."""
    path = header.path
    width, height = header.number("Columns", default=0), header.number("Rows", default=0)
    check_pixel_count(path, int(width), int(height))
    return make_case(
        path,
        _decode(header),
        geometry=frame_geometry(header),
        modality=header.text("Modality") or None,
        window=_window(header),
        mask_suffix=".nii.gz",
        dicom_frame=header.frame,
    )


def is_monochrome1(header: Header) -> bool:
    """Whether the lowest values are meant to be the brightest."""
    return header.text("PhotometricInterpretation") == "MONOCHROME1"


def mirror(pixels: NDArray[Any], window: _Window | None) -> _Window | None:
    """Mirror MONOCHROME1 in place, within its own range, so that bright means bright.

    Slices of one volume must be mirrored together, or equal values would come apart.

    Returns:
        The window for the mirrored values.
    """
    total = pixels.min().item() + pixels.max().item()
    wide = np.float64 if pixels.dtype.kind == "f" else np.int64
    # One by one, so that no second volume is ever in memory.
    for part in pixels:
        part[...] = (total - part.astype(wide)).astype(pixels.dtype)
    return None if window is None else (total - window[0], window[1])


def _load(path: Path) -> Any:
    """The whole file; older exports have neither preamble nor transfer syntax."""
    with decoding(path, "DICOM", DICOM_ERRORS):
        dataset = dcmread(path, force=True)
        storage_class = dataset.file_meta.get("MediaStorageSOPClassUID")
    if storage_class == MediaStorageDirectoryStorage:
        raise cannot_read(path, "it is an index of a DICOM disc; give one of its image files")
    if "SOPClassUID" not in dataset and "Rows" not in dataset:
        raise cannot_read(path, f"it is not a DICOM file; convert it to {SUPPORTED}")
    if not any(
        keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
    ):
        raise cannot_read(path, "this DICOM object holds no pixels; give an image")
    if "TransferSyntaxUID" not in dataset.file_meta:
        is_implicit, is_little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if is_implicit else explicit
    return dataset


def _decode(header: Header) -> NDArray[Any]:
    """Pixels of one frame in the modality's units, (H, W), or RGB (H, W, 3)."""
    is_palette = header.text("PhotometricInterpretation") == "PALETTE COLOR"
    with decoding(header.path, "DICOM", DICOM_ERRORS):
        pixels: NDArray[Any] = pixel_array(header.dataset, index=header.frame)
        if is_palette:
            pixels = apply_color_lut(pixels, header.dataset)
        elif pixels.ndim == 2 and "ModalityLUTSequence" in header.dataset:
            return np.asarray(apply_modality_lut(pixels, header.dataset))
    if is_palette:
        deep = pixels.itemsize == 2
        return (pixels >> 8 if deep else pixels).astype(np.uint8)[..., :3]
    if pixels.ndim == 3:
        return pixels
    return _rescale(
        pixels,
        slope=header.number("RescaleSlope", default=1.0),
        intercept=header.number("RescaleIntercept", default=0.0),
    )


def _rescale(pixels: NDArray[Any], slope: float, intercept: float) -> NDArray[Any]:
    if slope == 1.0 and intercept == 0.0:
        return pixels
    if slope == 1.0 and intercept.is_integer() and pixels.dtype.itemsize <= 2:
        return pixels.astype(np.int32) + int(intercept)
    return (pixels * np.float64(slope) + intercept).astype(np.float32)


def _window(header: Header) -> _Window | None:
    centre = header.numbers("WindowCenter")
    width = header.number("WindowWidth", default=0.0)
    return (centre[0], width) if centre and width > 0 else None
