"""What a DICOM header says of one frame, in plain numbers and text."""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.errors import BytesLengthException, InvalidDicomError

from .problems import decoding

# pydicom converts a value when it is asked for, and lets through what Python's own conversions
# raise; AttributeError is what it documents for pixels that lack an attribute.
DICOM_ERRORS: tuple[type[Exception], ...] = (
    InvalidDicomError,
    BytesLengthException,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True)
class Header:
    """The attributes of one frame, wherever an object keeps them.

    Attributes:
        dataset: pydicom's Dataset, with or without pixels.
    """

    path: Path
    dataset: Any
    frame: int = 0

    def text(self, keyword: str) -> str:
        """An attribute of the whole object; empty if it is missing."""
        with decoding(self.path, "DICOM", DICOM_ERRORS):
            return str(self.dataset.get(keyword) or "")

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """An attribute of any multiplicity as finite floats; empty if it is not that."""
        with decoding(self.path, "DICOM", DICOM_ERRORS):
            value = self._value(keyword)
        if value is None or isinstance(value, str):
            return ()
        try:
            numbers = tuple(map(float, value if hasattr(value, "__len__") else [value]))
        except (TypeError, ValueError):
            return ()
        return numbers if all(map(math.isfinite, numbers)) else ()

    def number(self, keyword: str, default: float) -> float:
        """The first of the attribute's numbers."""
        return next(iter(self.numbers(keyword)), default)

    def _value(self, keyword: str) -> Any:
        """Enhanced objects keep what belongs to a frame in nested functional groups."""
        for name, index in (
            ("PerFrameFunctionalGroupsSequence", self.frame),
            ("SharedFunctionalGroupsSequence", 0),
        ):
            groups = self.dataset.get(name) or []
            for element in groups[index] if index < len(groups) else []:
                if element.VR == "SQ" and element.value and keyword in element.value[0]:
                    return element.value[0].get(keyword)
        return self.dataset.get(keyword)
