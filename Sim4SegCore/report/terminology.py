"""Codes of structures and diagnoses, from our own terminology file."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import Sim4SegError

PRIVATE_SCHEME = "99SIM4SEG"
TERMINOLOGY_FILE = "terminology.json"
MAX_MEANING = 64
"""Characters of a meaning in DICOM."""


@dataclass(frozen=True)
class Code:
    """A concept as DICOM and FHIR name it.

    Attributes:
        scheme: "SCT" for SNOMED CT, "DCM", or PRIVATE_SCHEME.
    """

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True)
class Structure:
    """What a mask can show.

    Attributes:
        category: an anatomical structure, a morphologically abnormal one, or an object.
        region: where it is, if its name says so.
    """

    code: Code
    category: Code
    region: Code | None


@dataclass(frozen=True)
class Quantity:
    """What a measurement measures.

    Attributes:
        derivation: how one number was made of many, such as their mean.
    """

    code: Code
    derivation: Code | None


class Terminology:
    """Codes by the names that answers use."""

    def __init__(self, document: dict[str, Any]) -> None:
        """
        Args:
            document: as in Resources/terminology/terminology.json.
        """
        self._categories = {n: Code(**code) for n, code in document["categories"].items()}
        regions = {n: Code(**code) for n, code in document["regions"].items()}
        self._structures = {
            entry["name"].lower(): Structure(
                Code(**entry["code"]),
                self._categories[entry["category"]],
                None if entry["region"] is None else regions[entry["region"]],
            )
            for entry in document["structures"]
        }
        self._quantities = {
            entry["name"]: Quantity(
                Code(**entry["code"]),
                None if entry["derivation"] is None else Code(**entry["derivation"]),
            )
            for entry in document["measurements"]
        }
        self._diagnoses = {
            entry["name"].lower(): Code(**entry["code"]) for entry in document["diagnoses"]
        }
        structures = {name: structure.code for name, structure in self._structures.items()}
        named = structures | self._diagnoses
        meanings = {code.meaning.lower(): code for code in named.values()}
        self._concepts = meanings | named

    def structure(self, name: str) -> Structure:
        """The structure of that name; a private code for one that the file does not have."""
        known = self._structures.get(name.strip().lower())
        return known or Structure(_private(name), self._categories["abnormality"], None)

    def quantity(self, name: str) -> Quantity:
        """What a measurement of that name measures.

        Raises:
            KeyError: if the file does not have it.
        """
        return self._quantities[name]

    def diagnosis(self, name: str) -> Code:
        """The code of a diagnosis; a private one if the file does not have it."""
        return self._diagnoses.get(name.strip().lower()) or _private(name)

    def concept(self, name: str) -> str | None:
        """What is equal for all names of one concept; None of a name that the file lacks."""
        code = self._concepts.get(name.strip().lower())
        return None if code is None else f"{code.scheme} {code.value}"


@functools.cache
def terminology() -> Terminology:
    """The file that comes with the package.

    Raises:
        Sim4SegError: if it is missing.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "terminology", package.parent / "Resources" / "terminology"):
        path = folder / TERMINOLOGY_FILE
        if path.is_file():
            return Terminology(json.loads(path.read_text(encoding="utf-8")))
    raise Sim4SegError("the terminology file is missing from this installation; reinstall it")


def _private(name: str) -> Code:
    """The same code for the same words, so that they can still be searched for."""
    words = " ".join(name.split())
    digest = hashlib.sha256(words.lower().encode("utf-8", "replace")).hexdigest()
    return Code(f"X{digest[:12].upper()}", PRIVATE_SCHEME, words[:MAX_MEANING] or "Unnamed")
