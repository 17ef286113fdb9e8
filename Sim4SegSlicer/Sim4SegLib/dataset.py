"""Accepted answers as M3DS records, which `training/run.py` reads."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from Sim4SegCore.errors import Sim4SegError

from .outcome import Outcome, outcomes_of, reading_of
from .terms import term_for

DATASET = "Slicer"
FOLDER = "m3ds"
SPLIT = "train"
UNKNOWN_MODALITY = "image"
UNKNOWN_BODY_PART = "body"
_SEEN = re.compile(
    r"the modality of the image is (?P<modality>[^.:;]+) of the (?P<body_part>\w+)\b"
)


def accept_report(report_node: Any, root: Path) -> Path:
    """Write the image, the masks as they are now and the text as a record.

    Of a volume each slice with a mask is a record; without any, the slices that were answered.
    Accepting the same query about the same slice again replaces its record; nothing else in the
    folder is changed.

    Args:
        root: what `SIM4SEG_DATA` is to name; the record goes into its folder `m3ds`.

    Returns:
        The image's file; of a volume that of the slice with the largest mask.

    Raises:
        Sim4SegError: if it cannot be written.
    """
    reading = reading_of(report_node)
    folder = root if root.name == FOLDER else root / FOLDER
    try:
        outcomes = outcomes_of(reading)
        # Once for all slices: a volume takes longer than all else together.
        group = f"{DATASET}-{_digest(outcomes[0].volume)}"
        records = [_write_files(outcome, group, folder) for outcome in outcomes]
        _write_records(records, folder / f"{SPLIT}.jsonl")
    except OSError as error:
        raise Sim4SegError(
            f"the record cannot be written into {folder.name} ({error.strerror}); "
            "choose another folder"
        ) from None
    return folder / records[0]["image"]


def _write_files(outcome: Outcome, group: str, folder: Path) -> dict[str, Any]:
    document = outcome.document
    name = f"{_digest(outcome.pixels)}_{_text_digest(document['query'])}"
    image_file = f"images/{DATASET}/{name}.png"
    _save(Image.fromarray(outcome.pixels), folder / image_file)
    findings = []
    for label, mask in outcome.masks.items():
        mask_file = f"masks/{DATASET}/{name}__{_slug(label)}.png"
        if mask.any():
            _save(Image.fromarray(mask), folder / mask_file)
            findings.append({"target": label, "mask": mask_file})
    rows, columns = outcome.pixels.shape[:2]
    modality, body_part = _seen(document)
    return {
        "id": f"{DATASET}/{name}",
        "dataset": DATASET,
        "split": SPLIT,
        "image": image_file,
        "findings": findings,
        "modality": modality,
        "body_part": body_part,
        "diagnosis": document["diagnosis"]["label"],
        "attributes": {"query": document["query"], "reasoning": document["reasoning"]},
        "group": group,
        "original_size": [columns, rows],
        "licence": "the owner's",
    }


def _write_records(records: list[dict[str, Any]], path: Path) -> None:
    """Add lines, or replace those with the same id."""
    new = {record["id"]: json.dumps(record, ensure_ascii=False) for record in records}
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    kept = [line for line in lines if line.strip() and json.loads(line)["id"] not in new]
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text("\n".join([*kept, *new.values()]) + "\n", encoding="utf-8")
    temporary.replace(path)


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        image.save(temporary, format="PNG")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _digest(array: NDArray[Any]) -> str:
    digest = hashlib.sha256(repr((array.shape, array.dtype.str)).encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def _text_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _seen(document: dict[str, Any]) -> tuple[str, str]:
    """Modality and body part in the words of M3DS: the accepted answer names them.

    Without them, the body part is that of the first finding that has one.
    """
    named = _SEEN.search(document["reasoning"])
    if named:
        return named["modality"], named["body_part"]
    regions = (term_for(finding["label"]).region for finding in document["findings"])
    return UNKNOWN_MODALITY, next(filter(None, regions), UNKNOWN_BODY_PART)


def _slug(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_") or "finding"
