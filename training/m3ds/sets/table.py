"""Any set of yours, described by a CSV.

    records.csv   image,target,mask,diagnosis,group,split,modality,body_part,licence

A row is one target of one image; rows of the same image are put together. Paths are relative to
the CSV. `mask` is a file, or `none` if there is nothing to segment, or empty if it is unknown.
`split` may be empty; then the builder chooses. Only image, modality and body_part must be filled;
without `group` every image is its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from ..masks import MaskFile, MaskSpec
from ..registry import register
from ..source import RawCase, Skipped, Source, Split
from ..tables import read_rows

NOTHING = "none"


@register
class Table(Source):
    """See the module."""

    kind = "csv"
    modality = "image"
    body_part = "body"
    licence = "not stated"
    marker = "records.csv"
    download = "your own records.csv"

    def cases(self) -> Iterator[RawCase | Skipped]:
        """Images in the order of the table."""
        rows: dict[str, list[dict[str, str]]] = {}
        for row in read_rows(self.require("records.csv"), ("image", "modality", "body_part")):
            rows.setdefault(row["image"], []).append(row)
        for image, targets in rows.items():
            yield self._case(image, targets)

    def _case(self, image: str, rows: list[dict[str, str]]) -> RawCase | Skipped:
        first = rows[0]
        split = _split(first.get("split", ""))
        if not (first["modality"] and first["body_part"]):
            return Skipped(image, "modality or body_part is empty")
        if split is None and first.get("split"):
            return Skipped(image, f"unknown split '{first['split']}'")
        masks = [row.get("mask", "") for row in rows]
        pairs = list(zip(rows, masks, strict=True))
        if any(mask not in ("", NOTHING) and not row.get("target") for row, mask in pairs):
            return Skipped(image, "a mask without a target")
        findings: dict[str, tuple[MaskSpec, ...]] = {}
        for row, mask in pairs:
            if mask not in ("", NOTHING):
                spec = MaskFile(self.root / mask)
                findings[row["target"]] = (*findings.get(row["target"], ()), spec)
        known = bool(findings) or NOTHING in masks
        return RawCase(
            id=Path(image).with_suffix("").as_posix(),
            image=self.root / image,
            findings=findings if known else None,
            diagnosis=first.get("diagnosis") or None,
            group=f"{self.name}-{first.get('group') or image}",
            split=split,
            modality=first["modality"],
            body_part=first["body_part"],
            licence=first.get("licence") or None,
        )


def _split(text: str) -> Split | None:
    return next((s for s in get_args(Split) if s == text), None)
