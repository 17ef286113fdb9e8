"""Whether the chain of thought says of an image what is true of it.

The reasoning is read with the patterns in which `training.text` writes; what it states is
compared with `measure_facts` of the true mask, as the network sees image and mask. Agreement
alone flatters an answer that always names the set's typical position or size, so beside it
stands what the best constant statement would get on the same images.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from Sim4SegCore.frame import Frame

from ..text import measure_facts
from ..views import Pixels, crop

PRESENCE = "presence"
MASK_FACTS = ("location", "size", "percent", "shape", "contrast")
FACTS = (PRESENCE, *MASK_FACTS)
PRESENT, ABSENT = "present", "absent"

_PATTERNS = {
    "location": r"\bvisible (?P<fact>in the (?:[a-z ]+ part|centre)) of the image",
    "size": r"\b(?:it is|they are) (?P<fact>tiny|small|medium|large)\b",
    "percent": r"\babout (?P<fact>less than 1|\d+) percent",
    "shape": r"\b(?:it is|they are) (?P<fact>round|oval|elongated)\b",
    "contrast": r"\b(?P<fact>brighter than|darker than|similar to) the surroundings",
}
_ABSENCE = re.compile(r"analyze the image: no .+? (?:is|are) visible")
_PRESENCE = re.compile(r"analyze the image: the .+? (?:is|are) visible")


def stated_facts(reasoning: str) -> dict[str, str]:
    """What a reasoning states, by kind of fact; what it does not mention is left out."""
    if _ABSENCE.search(reasoning):
        return {PRESENCE: ABSENT}
    found = {kind: re.search(pattern, reasoning) for kind, pattern in _PATTERNS.items()}
    stated = {kind: match["fact"] for kind, match in found.items() if match}
    return ({PRESENCE: PRESENT} if _PRESENCE.search(reasoning) else {}) | stated


def true_facts(
    present: bool, truth: NDArray[np.bool_] | None, image: Pixels, side: int
) -> dict[str, str]:
    """What is true of an image, by kind of fact.

    Args:
        present: whether the target is in the image.
        truth: bool (H, W); None if the mask is unknown: then only presence is.
        image: uint8 (H, W, 3).
        side: pixels of the longest side in which the network reads the image.
    """
    presence = {PRESENCE: PRESENT if present else ABSENT}
    if truth is None or not present:
        return presence
    frame = Frame.longest_side(truth.shape, side)
    rows, columns = frame.content
    seen = crop(truth.astype(np.uint8) * np.uint8(255), frame, side)[:rows, :columns] > 127
    if not seen.any():
        return presence
    grey = crop(image, frame, side)[:rows, :columns].mean(-1, dtype=np.float32)
    facts = measure_facts(seen, grey)
    return presence | {kind: str(getattr(facts, kind)) for kind in MASK_FACTS}


def agrees(kind: str, stated: str, true: str) -> bool:
    """Whether a statement is right.

    Percentages are written in whole numbers, above ten in steps of five: they agree if they
    differ by no more than a fifth of the true one, or by one. Everything else agrees if equal.
    """
    if kind != "percent":
        return stated == true
    difference = abs(_percent(stated) - _percent(true))
    return difference <= max(1.0, 0.2 * _percent(true))


def _percent(words: str) -> float:
    return 0.5 if words == "less than 1" else float(words)


def constant_agreement(kind: str, true: Sequence[str]) -> NDArray[np.float64]:
    """Agreement of constant statements: (candidates, images) of zeros and ones.

    Candidates are the true facts that occur; which of them is best depends on how images are
    weighted, and is left to the caller.
    """
    candidates = sorted(set(true))
    rows = [[float(agrees(kind, candidate, fact)) for fact in true] for candidate in candidates]
    return np.array(rows).reshape(len(candidates), len(true))


def agreement(stated: Mapping[str, str], true: Mapping[str, str], kind: str) -> bool | None:
    """Whether one kind of fact agrees; None where it is not stated or not known.

    Of a target that is not there, position and size cannot be right: such statements are judged
    by presence alone.
    """
    if kind not in stated or kind not in true:
        return None
    return agrees(kind, stated[kind], true[kind])
