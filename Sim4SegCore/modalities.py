"""DICOM's codes for how images are made, and what people call them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

_AIR = -500
"""No scanner but CT has values like this: Hounsfield units of air and lung."""
_NAMES: dict[str, tuple[str, ...]] = {
    "CR": ("x-ray", "radiograph"),
    "DX": ("x-ray", "radiograph"),
    "RG": ("x-ray", "radiograph"),
    "MG": ("mammogra",),
    "XA": ("angiogra",),
    "RF": ("fluoroscop",),
    "CT": ("ct", "computed tomography"),
    "MR": ("mri", "magnetic resonance"),
    "NM": ("scintigra", "spect"),
    "PT": ("positron emission", "pet"),
    "US": ("ultrasound", "sonogra"),
    "OP": ("fundus",),
    "OPT": ("optical coherence",),
    "ES": ("endoscop", "colonoscop"),
    "DMS": ("dermoscop",),
    "SM": ("microscop", "histolog"),
}
"""Codes of DICOM PS3.3, section C.7.3.1.1.1, that say what an image shows, unlike OT, SC or XC."""
_WIDER_NAMES = dict.fromkeys(("MG", "XA", "RF"), ("x-ray", "radiograph"))
"""True of them as well, but who has seen other X-rays does not know these."""


def names_of(code: str | None) -> tuple[str, ...]:
    """Parts of words that an image of this code may be called by; empty if it says nothing."""
    key = (code or "").upper()
    return (*_NAMES.get(key, ()), *_WIDER_NAMES.get(key, ()))


def codes_of(names: Iterable[str]) -> tuple[str, ...]:
    """Codes of the modalities that images are called by, sorted."""
    said = [name.lower() for name in names]
    return tuple(
        sorted(
            code
            for code, words in _NAMES.items()
            if any(name.startswith(word) for word in words for name in said)
        )
    )


def apparent_code(stated: str | None, grey: NDArray[Any] | None) -> str | None:
    """The code that a file states, else CT by its values; None if neither tells.

    Args:
        grey: intensities; None of colour images.
    """
    if stated is None and grey is not None and grey.min() <= _AIR:
        return "CT"
    return stated
