"""Images of what no set of M3DS shows, from what libraries bring along; nothing is downloaded.

Photographs, textures and text come from scikit-image, foreign medical images from scikit-image and
pydicom, noise is drawn. A folder of the user's own adds images and volumes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from Sim4SegCore.case import Case
from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.intensity import to_rgb8
from Sim4SegCore.io import read_case

from ..views import Pixels
from .made_patterns import noise_patterns

EXPOSED = (
    ("photographs", ("camera.png", "coffee.png", "coins.png", "moon.png", "motorcycle_left.png")),
    ("textures and text", ("brick.png", "grass.png", "horse.png", "page.png")),
    ("microscopy", ("cell.png",)),
)
"""Shown while fitting, and therefore never measured on."""
MEASURED = (
    (
        "photographs",
        ("astronaut.png", "chelsea.png", "clock_motion.png", "color.png",
         "hubble_deep_field.jpg", "rocket.jpg"),
    ),
    ("textures and text", ("chessboard_GRAY.png", "gravel.png", "logo.png", "text.png")),
    ("microscopy", ("ihc.png",)),
)  # fmt: skip
DICOM_SCANS = (
    "693_J2KI.dcm", "CT_small.dcm", "J2K_pixelrep_mismatch.dcm", "JPEG2000.dcm",
    "examples_overlay.dcm", "liver_1frame.dcm",
)  # fmt: skip
"""CT of the trunk and the head, bone scintigraphy, MR of the liver, a liver as a bare mask."""
EXPOSED_SEED, MEASURED_SEED = 1, 0

CROPS = 4
"""Random windows of each photograph, texture and micrograph, besides the whole."""


@dataclass(frozen=True)
class OutsideImage:
    """One image that the model was not trained on the like of.

    Attributes:
        kind: what a table counts it under.
        name: for people.
        modality: DICOM code, if file or values tell.
    """

    kind: str
    name: str
    case: Case
    modality: str | None = None


def exposed_pictures() -> list[Pixels]:
    """For fitting: whole pictures, uint8 (H, W, 3).

    Raises:
        Sim4SegError: if scikit-image is not installed.
    """
    folder = _places()["skimage"]
    return [to_rgb8(read_case(folder / name)) for _, names in EXPOSED for name in names]


def exposed_images() -> Iterator[OutsideImage]:
    """For fitting: each of these pictures and windows of it.

    Raises:
        Sim4SegError: if scikit-image is not installed.
    """
    yield from _shipped(EXPOSED)


def exposed_noise() -> Iterator[OutsideImage]:
    """For fitting: what is drawn."""
    yield from _drawn(EXPOSED_SEED)


def measured_images() -> Iterator[OutsideImage]:
    """For measuring: other pictures, noise of another seed, and what was never shown of scans.

    Raises:
        Sim4SegError: if scikit-image is not installed.
    """
    yield from _shipped(MEASURED)
    yield from _drawn(MEASURED_SEED)
    folder = _places()["pydicom"]
    for name in DICOM_SCANS:
        case = read_case(folder / name)
        yield OutsideImage("foreign DICOM", name, case, case.apparent_modality)


def _shipped(sources: Sequence[tuple[str, Sequence[str]]]) -> Iterator[OutsideImage]:
    folder = _places()["skimage"]
    for kind, names in sources:
        for name in names:
            yield from _views(kind, name, read_case(folder / name).image)


def _drawn(seed: int) -> Iterator[OutsideImage]:
    for name, pixels in noise_patterns(seed):
        yield OutsideImage("noise and figures", name, Case(pixels))


def _places() -> dict[str, Path]:
    import pydicom.data

    try:
        import skimage.data
    except ImportError:
        raise Sim4SegError(
            "the outside images need scikit-image: pip install 'sim4seg[demo]'"
        ) from None
    return {
        "skimage": Path(skimage.data.__file__).parent,
        "pydicom": Path(pydicom.data.__file__).parent / "test_files",
    }


def _views(kind: str, name: str, image: NDArray[np.generic]) -> Iterator[OutsideImage]:
    """The whole and some windows of it; those of colour images grey as well."""
    rng = random.Random(name)
    for number in range(1 + CROPS):
        pixels = image if number == 0 else _window(image, rng)
        part = "whole" if number == 0 else f"window {number}"
        yield OutsideImage(kind, f"{name} {part}", Case(pixels))
        if pixels.ndim == 3:
            grey = np.rint(pixels @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
            yield OutsideImage(kind, f"{name} {part} grey", Case(grey))


def _window(image: NDArray[np.generic], rng: random.Random) -> NDArray[np.generic]:
    """A window with sides of 30 to 90 % of the image's."""
    places = []
    for edge in image.shape[:2]:
        side = round(edge * rng.uniform(0.3, 0.9))
        start = rng.randint(0, edge - side)
        places.append(slice(start, start + side))
    return np.ascontiguousarray(image[tuple(places)])
