"""Codes: complete, well-formed, and those that claim a source have it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydicom.sr.codedict import Collection

from Sim4SegCore.report.terminology import PRIVATE_SCHEME, Code, terminology
from training.targets import SYNONYMS, UNNAMED_TARGET

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = json.loads((ROOT / "Resources/terminology/terminology.json").read_text("utf-8"))
CONFIG = json.loads((ROOT / "Resources/checkpoint/config.json").read_text("utf-8"))
ENTRIES = [*DOCUMENT["structures"], *DOCUMENT["measurements"], *DOCUMENT["diagnoses"]]
KNOWN = {
    (code.scheme_designator, code.value)
    for scheme in ("SCT", "DCM")
    for code in Collection(scheme).concepts.values()
}


def test_everything_that_the_embedded_model_names_has_an_entry() -> None:
    structures = {entry["name"] for entry in DOCUMENT["structures"]}
    assert {*SYNONYMS, UNNAMED_TARGET, "finding"} <= structures
    diagnoses = {entry["name"] for entry in DOCUMENT["diagnoses"]}
    assert set(CONFIG["diagnoses"]) - {"not given"} <= diagnoses


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["name"])
def test_codes_are_well_formed_and_their_source_is_stated(entry: dict) -> None:
    code = entry["code"]
    assert 0 < len(code["meaning"]) <= 64
    assert code["scheme"] in ("SCT", "DCM", PRIVATE_SCHEME)
    if code["scheme"] == PRIVATE_SCHEME:
        assert entry["checked"] == "private" and len(code["value"]) <= 16
    elif entry["checked"] == "DICOM PS3.16":
        assert (code["scheme"], code["value"]) in KNOWN
    else:
        assert entry["checked"] == "public value sets" and code["value"].isdigit()


def test_categories_and_regions_are_those_of_the_standard() -> None:
    for code in [*DOCUMENT["categories"].values(), *DOCUMENT["regions"].values()]:
        assert (code["scheme"], code["value"]) in KNOWN


def test_private_codes_mean_one_thing_each() -> None:
    meanings: dict[str, set[str]] = {}
    for entry in ENTRIES:
        meanings.setdefault(entry["code"]["value"], set()).add(entry["code"]["meaning"])
    assert all(len(words) == 1 for words in meanings.values())


def test_snomed_numbers_have_the_right_check_digit() -> None:
    """Verhoeff's, as SNOMED CT defines it: a mistyped number shows."""
    for entry in ENTRIES:
        if entry["code"]["scheme"] == "SCT":
            assert verhoeff(entry["code"]["value"]) == 0, entry["name"]


def test_names_are_found_in_any_case_and_unknown_ones_get_a_private_code() -> None:
    codes = terminology()
    assert codes.diagnosis(" GLIOMA ").value == codes.diagnosis("glioma").value == "393564001"
    assert codes.structure("Left Lung").category.meaning == "Anatomical Structure"
    unknown = codes.structure("肿瘤 of the left toe").code
    assert unknown == codes.structure("肿瘤  of the left toe").code
    assert unknown.scheme == PRIVATE_SCHEME and unknown.meaning == "肿瘤 of the left toe"
    assert codes.structure("x" * 500).code.meaning == "x" * 64
    assert codes.diagnosis("").meaning == "Unnamed"
    assert isinstance(codes.diagnosis("a"), Code) and codes.diagnosis("a") != codes.diagnosis("b")


def verhoeff(number: str) -> int:
    """0 if the last digit is the check digit of the others."""
    multiply = [[(a + b) % 5 for b in range(5)] + [(a + b) % 5 + 5 for b in range(5)]
                for a in range(5)]  # fmt: skip
    multiply += [[(a - b) % 5 + 5 for b in range(5)] + [(a - b) % 5 for b in range(5)]
                 for a in range(5)]  # fmt: skip
    once = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]
    permutations = [list(range(10))]
    for _ in range(7):
        permutations.append([once[digit] for digit in permutations[-1]])
    check = 0
    for place, digit in enumerate(reversed(number)):
        check = multiply[check][permutations[place % 8][int(digit)]]
    return check
