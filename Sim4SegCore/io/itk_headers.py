"""What ITK does not notice in NRRD and MetaImage headers: missing data, missing spacing.

Reading allocates what the header promises, so that a header of 30 GB without data must be
refused before.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_LARGEST_HEADER = 1 << 16
_DEFLATE_RATIO = 1032
"""gzip makes nothing smaller than by this factor."""
_NO_CHANNELS = ("domain", "space", "time", "none", "???")
"""Kinds of NRRD axes along which voxels lie apart, or that say nothing."""


@dataclass(frozen=True)
class TextHeader:
    """The fields of a header that is text, with names in lower case.

    Attributes:
        data_bytes: what the data takes on disk; None if it lies in files that are not known.
    """

    fields: dict[str, str]
    data_bytes: int | None
    is_compressed: bool

    @property
    def has_spacing(self) -> bool:
        """Whether it says how far voxels are apart, along every axis but that of channels."""
        names = ("space directions", "spacings", "elementspacing", "elementsize")
        said = " ".join(self.fields[name].lower() for name in names if name in self.fields)
        by_axis = re.findall(r"\([^)]*\)|\S+", said)
        missing = sum(entry == "none" or "nan" in entry for entry in by_axis)
        kinds = self.fields.get("kinds", "").lower().split()
        return bool(said) and missing <= sum(kind not in _NO_CHANNELS for kind in kinds)

    def can_hold(self, expected_bytes: int) -> bool:
        """Whether as many bytes of voxels can be in the data."""
        if self.data_bytes is None:
            return True
        return expected_bytes <= self.data_bytes * (_DEFLATE_RATIO if self.is_compressed else 1)


def read_nrrd_header(path: Path) -> TextHeader:
    """Read what stands before the first empty line; raises OSError."""
    with path.open("rb") as stream:
        start = stream.read(_LARGEST_HEADER)
    text, blank, _ = start.replace(b"\r\n", b"\n").partition(b"\n\n")
    fields = _fields(text, ":")
    encoding = fields.get("encoding", "raw").lower()
    is_detached = "data file" in fields or "datafile" in fields
    length: int | None = path.stat().st_size - (len(text) if blank else 0)
    if is_detached:
        length = _length_beside(path, fields.get("data file", fields.get("datafile", "")))
    is_text = encoding in ("txt", "text", "ascii", "hex")
    return TextHeader(fields, None if is_text else length, encoding not in ("raw",))


def read_metaimage_header(path: Path) -> TextHeader:
    """Read what stands up to ElementDataFile; raises OSError."""
    with path.open("rb") as stream:
        start = stream.read(_LARGEST_HEADER)
    before, _, after = start.partition(b"ElementDataFile")
    end = len(before) + len(b"ElementDataFile") + after.find(b"\n") + 1
    fields = _fields(start[:end], "=")
    place = fields.get("elementdatafile", "")
    length: int | None = path.stat().st_size - end
    if place.upper() != "LOCAL":
        length = _length_beside(path, place)
    is_compressed = fields.get("compresseddata", "").lower() == "true"
    is_text = fields.get("binarydata", "true").lower() == "false"
    return TextHeader(fields, None if is_text else length, is_compressed)


def _fields(text: bytes, separator: str) -> dict[str, str]:
    lines = text.decode("latin-1").splitlines()
    pairs = (line.partition(separator) for line in lines if not line.startswith("#"))
    return {name.strip().lower(): value.strip().lstrip("=") for name, _, value in pairs}


def _length_beside(path: Path, name: str) -> int | None:
    """Length of one data file beside a header; None of patterns and lists, 0 if it is missing."""
    if "%" in name or name.upper().startswith("LIST") or len(name.split()) > 1:
        return None
    beside = path.parent / name
    return beside.stat().st_size if beside.is_file() else 0
