"""Words of the model as standard terminology, for names, colours and DICOM export.

The codes are Core's, the same as in reports and DICOM objects. A label is looked up by its exact
words, since a fuzzy search picks wrong modifiers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import Sim4SegCore
from Sim4SegCore.errors import Sim4SegError

CONTEXT = "Sim4Seg findings"
FALLBACK_LABEL = "finding"
_REGION_CONTEXT = "Anatomic codes - DICOM master list"
_NOTHING = "^^"
_SCHEMA = "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc/segment-context-schema.json#"


@dataclass(frozen=True)
class Term:
    """One entry.

    Attributes:
        serialized: as Slicer keeps it in a segment's tag.
        colour: red, green, blue, 0..1.
        region: where in the body, in Core's word; empty if it does not say.
    """

    serialized: str
    colour: tuple[float, float, float]
    region: str


def term_for(label: str) -> Term:
    """The term of a finding's label; what is not in the file is a finding of no nearer kind."""
    terms = _terms()
    return terms.get(_key(label), terms[FALLBACK_LABEL])


def slicer_terminology() -> dict[str, Any]:
    """All terms in the form that Slicer's Terminologies module reads from a file."""
    document = _document()
    categories = []
    for name, category in document["categories"].items():
        types: dict[str, Any] = {}
        for entry in document["structures"]:
            if entry["category"] == name:
                # Slicer knows a type once, wherever in the body it is.
                kind = {**_spelt(entry["code"]), "recommendedDisplayRGBValue": entry["colour"]}
                types.setdefault(entry["code"]["value"], kind)
        if types:
            categories.append(
                {**_spelt(category), "showAnatomy": "true", "Type": list(types.values())}
            )
    return {
        "SegmentationCategoryTypeContextName": CONTEXT,
        "@schema": _SCHEMA,
        "SegmentationCodes": {"Category": categories},
    }


@lru_cache(maxsize=1)
def _terms() -> dict[str, Term]:
    document = _document()
    terms = {}
    for entry in document["structures"]:
        region = entry["region"]
        parts = [
            CONTEXT,
            _code(document["categories"][entry["category"]]),
            _code(entry["code"]),
            _NOTHING,
            _REGION_CONTEXT,
            _NOTHING if region is None else _code(document["regions"][region]),
            _NOTHING,
        ]
        red, green, blue = (part / 255 for part in entry["colour"])
        terms[_key(entry["name"])] = Term("~".join(parts), (red, green, blue), region or "")
    return terms


@lru_cache(maxsize=1)
def _document() -> dict[str, Any]:
    from Sim4SegCore.report.terminology import TERMINOLOGY_FILE

    package = Path(Sim4SegCore.__file__).resolve().parent
    for folder in (package / "terminology", package.parent / "Resources" / "terminology"):
        path = folder / TERMINOLOGY_FILE
        if path.is_file():
            return dict(json.loads(path.read_text(encoding="utf-8")))
    raise Sim4SegError("the terminology file is missing from this installation; reinstall it")


def _spelt(code: dict[str, str]) -> dict[str, str]:
    return {
        "CodeValue": code["value"],
        "CodingSchemeDesignator": code["scheme"],
        "CodeMeaning": code["meaning"],
    }


def _code(code: dict[str, str]) -> str:
    return "^".join((code["value"], code["scheme"], code["meaning"]))


def _key(label: str) -> str:
    return " ".join(label.lower().split())
