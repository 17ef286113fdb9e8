"""One case becomes a JPEG, 1-bit masks and a record; runs in worker processes."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from Sim4SegCore.errors import Sim4SegError

from .masks import CaseError, Mask, shrink_mask, unite
from .source import RawCase, Skipped, Split

GREY_MODALITIES = frozenset({"X-ray", "ultrasound", "CT"})
"""Stored grey even where the download has three channels."""

THUMBNAIL = 24


@dataclass(frozen=True)
class Task:
    """A case with all that its set and the configuration say about it."""

    case: RawCase
    dataset: str
    split: Split
    modality: str
    body_part: str
    licence: str
    longest_side: int
    quality: int
    folder: Path


@dataclass(frozen=True)
class Built:
    """A record and what statistics and the duplicate check want to know of it.

    Attributes:
        record: as in `train.jsonl`.
        thumbnail: float32 (576,), mean 0 and norm 1, or all 0 for a plain image.
        areas: target -> fraction of the image.
    """

    record: dict[str, Any]
    thumbnail: NDArray[np.float32]
    areas: dict[str, float]


def slug(text: str) -> str:
    """A part of a file name: letters, digits and underscores."""
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")


def convert(task: Task) -> Built | Skipped:
    """Read, check, shrink and write one case.

    Raises:
        Sim4SegError: if the output cannot be written.
    """
    try:
        image, original_size = read_image(task.case.image, task.modality, task.longest_side)
        masks = _masks(task.case, original_size)
    except CaseError as error:
        return Skipped(task.case.id, str(error))
    diagnosis = task.case.diagnosis
    if masks is not None and not masks and task.case.findings and task.case.if_empty is not None:
        diagnosis = task.case.if_empty.diagnosis
    name = slug(task.case.id)
    image_file = f"images/{task.dataset}/{name}.jpg"
    _write(task.folder / image_file, lambda to: image.save(to, quality=task.quality, subsampling=0))
    findings, areas = None, {}
    if masks is not None:
        findings = []
        for target, mask in masks.items():
            small = shrink_mask(mask, image.size)
            file = f"masks/{task.dataset}/{name}__{slug(target).replace('_', '-')}.png"
            _write(task.folder / file, Image.fromarray(small).save)
            findings.append({"target": target, "mask": file})
            areas[target] = float(small.mean())
    record = {
        "id": f"{task.dataset}/{name}",
        "dataset": task.dataset,
        "split": task.split,
        "image": image_file,
        "findings": findings,
        "modality": task.modality,
        "body_part": task.body_part,
        "diagnosis": diagnosis,
        "attributes": dict(task.case.attributes),
        "group": task.case.group,
        "original_size": list(original_size),
        "licence": task.licence,
    }
    return Built(record, thumbnail(image), areas)


def read_image(path: Path, modality: str, longest_side: int) -> tuple[Image.Image, tuple[int, int]]:
    """The image, shrunk, in mode L or RGB, and its original (width, height).

    Raises:
        CaseError: if it is missing, truncated or no image.
    """
    try:
        with Image.open(path) as file:
            original: tuple[int, int] = file.size
            scale = min(1.0, longest_side / max(original))
            size = (max(1, round(original[0] * scale)), max(1, round(original[1] * scale)))
            # A JPEG is decoded at half or a quarter of its size where that is still twice enough.
            file.draft(None, (2 * size[0], 2 * size[1]))
            file.load()
            plain = _eight_bit(file)
    except FileNotFoundError:
        raise CaseError("image is missing") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise CaseError("image is truncated or no image") from None
    grey = plain.mode == "L" or modality in GREY_MODALITIES
    image = plain.convert("L" if grey else "RGB")
    if image.size != size:
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    return image, original


def thumbnail(image: Image.Image) -> NDArray[np.float32]:
    """Grey 24×24 pixels, mean 0 and norm 1: the dot product of two is their correlation."""
    small = image.convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    pixels = np.asarray(small, np.float32).ravel()
    pixels -= pixels.mean()
    norm = float(np.linalg.norm(pixels))
    return pixels / norm if norm > 1e-3 else np.zeros_like(pixels)


def _masks(case: RawCase, size: tuple[int, int]) -> dict[str, Mask] | None:
    """Masks with foreground, at the image's original size."""
    if case.findings is None:
        return None
    masks = {target: unite(specs, size) for target, specs in case.findings.items()}
    masks = {target: mask for target, mask in masks.items() if mask.any()}
    if case.findings and not masks and case.if_empty is None:
        raise CaseError("mask is empty, though the set says there is something")
    return masks


def _eight_bit(image: Image.Image) -> Image.Image:
    """Mode L or RGB; deeper greys are stretched from their minimum to their maximum."""
    if image.mode.startswith("I") or image.mode == "F":
        pixels = np.asarray(image, np.float32)
        low, high = float(pixels.min()), float(pixels.max())
        scaled = (pixels - low) * (255.0 / max(high - low, 1e-6))
        return Image.fromarray(scaled.round().astype(np.uint8))
    return image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")


def _write(path: Path, save: Callable[[Path], None]) -> None:
    try:
        save(path)
    except OSError as error:
        raise write_error(path, error) from None


def write_error(path: Path, error: OSError) -> Sim4SegError:
    """What to tell the user when the output cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Sim4SegError(
            f"no space left on the disk of {path.parent}; free some or choose another output. "
            "What was there before is unchanged"
        )
    where = error.filename or path
    return Sim4SegError(f"cannot read or write {where}: {error.strerror or error}")
