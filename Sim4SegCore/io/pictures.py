"""PNG, JPEG, TIFF and BMP."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ..case import Case
from .checks import MAX_PIXELS, check_pixel_count, choose_slice, make_case
from .problems import cannot_read, decoding

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")

# PIL itself takes all of these for "end of data" or "not this format" when it opens a file.
_ERRORS = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, struct.error)


def read_picture(path: Path, slice_index: int | None) -> Case:
    """The picture, or page `slice_index` of a TIFF."""
    with _decoding(path):
        picture = Image.open(path, formats=_FORMATS)
    with picture:
        with _decoding(path):
            # A phone's MPO holds thumbnails behind the photo; pages are only meant in TIFF.
            pages: int = getattr(picture, "n_frames", 1) if picture.format == "TIFF" else 1
        page = choose_slice(path, pages, slice_index)
        with _decoding(path):
            picture.seek(page)
        check_pixel_count(path, *picture.size)
        with _decoding(path):
            if picture.format == "PNG":
                _verify(path)
            pixels = _to_array(ImageOps.exif_transpose(picture))
    return make_case(path, pixels, mask_suffix=".png")


@contextlib.contextmanager
def _decoding(path: Path) -> Iterator[None]:
    try:
        with decoding(path, "PNG, JPEG, TIFF or BMP", _ERRORS):
            yield
    except Image.DecompressionBombError:
        raise cannot_read(
            path, f"it has far more than {MAX_PIXELS} pixels; crop or downsample it"
        ) from None


def _verify(path: Path) -> None:
    """Decoding is content with the pixels; only this misses the end of a cut PNG."""
    with Image.open(path, formats=_FORMATS) as picture:
        picture.verify()


def _to_array(picture: Image.Image) -> NDArray[Any]:
    if picture.mode in ("1", "LA"):
        picture = picture.convert("L")
    elif not (picture.mode in ("L", "I", "F", "RGB") or picture.mode.startswith("I;16")):
        picture = picture.convert("RGB")
    return np.array(picture)
