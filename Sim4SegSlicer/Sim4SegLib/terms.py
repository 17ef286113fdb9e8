"""Words of the model as standard terminology, for names, colours and DICOM export.

The terms stand in `Resources/Terminologies/Sim4Seg.term.json`, in the form that Slicer's
Terminologies module reads; a label is looked up by its exact words, since a fuzzy search picks
wrong modifiers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

TERMS_FILE = (
    Path(__file__).resolve().parents[1] / "Resources" / "Terminologies" / "Sim4Seg.term.json"
)
FALLBACK_LABEL = "finding"
_REGION_CONTEXT = "Anatomic codes - DICOM master list"
_NOTHING = "^^"


@dataclass(frozen=True)
class Term:
    """One entry.

    Attributes:
        serialized: as Slicer keeps it in a segment's tag.
        colour: red, green, blue, 0..1.
        region: where in the body, in the term file's word; empty if it does not say.
    """

    serialized: str
    colour: tuple[float, float, float]
    region: str


def term_for(label: str) -> Term:
    """The term of a finding's label; what is not in the file is a finding of no nearer kind."""
    terms = _terms()
    return terms.get(_key(label), terms[FALLBACK_LABEL])


@lru_cache(maxsize=1)
def _terms() -> dict[str, Term]:
    document = json.loads(TERMS_FILE.read_text(encoding="utf-8"))
    context = document["SegmentationCategoryTypeContextName"]
    terms: dict[str, Term] = {}
    for category in document["SegmentationCodes"]["Category"]:
        for kind in category["Type"]:
            for modifier in kind.get("Modifier", [None]):
                entry = modifier or kind
                serialized = _serialized(context, category, kind, modifier)
                red, green, blue = entry["recommendedDisplayRGBValue"]
                region = kind.get("sim4segRegion", {}).get("CodeMeaning", "")
                term = Term(serialized, (red / 255, green / 255, blue / 255), region)
                terms.update(dict.fromkeys(map(_key, entry["sim4segLabels"]), term))
    return terms


def _serialized(
    context: str, category: dict[str, Any], kind: dict[str, Any], modifier: dict[str, Any] | None
) -> str:
    region = kind.get("sim4segRegion")
    parts = [
        context,
        _code(category),
        _code(kind),
        _NOTHING if modifier is None else _code(modifier),
        _REGION_CONTEXT,
        _NOTHING if region is None else _code(region),
        _NOTHING,
    ]
    return "~".join(parts)


def _code(entry: dict[str, Any]) -> str:
    return "^".join((entry["CodeValue"], entry["CodingSchemeDesignator"], entry["CodeMeaning"]))


def _key(label: str) -> str:
    return " ".join(label.lower().split())
