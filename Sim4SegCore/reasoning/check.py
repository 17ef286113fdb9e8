"""Every checkable statement of an answer against its mask.

A small language model knows what is typical of a kind of image better than what this one shows.
So the reader is told, statement by statement, what the mask bears out.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..case import CheckedClaim, Verdict
from ..modalities import names_of
from ..modeling.answer import Answer
from .agreement import objection
from .claims import Claim, read_claims
from .facts import Facts, grey_levels, measure_facts


def check_answer(
    answer: Answer,
    target: str,
    mask: NDArray[np.bool_],
    image: NDArray[np.uint8],
    modality: str | None = None,
) -> tuple[CheckedClaim, ...]:
    """Check what an answer states of its target.

    Args:
        target: as the answer names it.
        mask: bool (H, W); empty if nothing was found.
        image: uint8 (H, W) or (H, W, 3), the same pixels.
        modality: DICOM code that the file states, if any.
    """
    facts = measure_facts(mask, grey_levels(image))
    text = f"{answer.analysis.rstrip('. ')}. {answer.consideration}"
    claims = read_claims(text, [target])
    checked = (_checked(claim, facts) for claim in claims if claim.target == target)
    return (*_modality(answer, modality), *dict.fromkeys(checked))


def _checked(claim: Claim, facts: Facts | None) -> CheckedClaim:
    if claim.kind == "presence":
        found = facts is not None
        supported = (claim.value == "present") == found
        measured = "a mask was found" if found else "no mask was found"
        verdict: Verdict = "supported" if supported else "contradicted"
        return CheckedClaim(claim.quote, claim.kind, verdict, measured)
    if facts is None:
        return CheckedClaim(claim.quote, claim.kind, "not checkable", "no mask was found")
    reason = objection(claim, facts)
    if reason is None:
        return CheckedClaim(claim.quote, claim.kind, "supported", "")
    return CheckedClaim(claim.quote, claim.kind, "contradicted", reason)


def _modality(answer: Answer, code: str | None) -> Iterator[CheckedClaim]:
    said = answer.modality.strip()
    if not said:
        return
    words = names_of(code)
    if not words:
        yield CheckedClaim(said, "modality", "not checkable", "the file does not tell")
    elif any(word in said.lower() for word in words):
        yield CheckedClaim(said, "modality", "supported", f"the file says {code}")
    else:
        reason = f"modality: the text says “{said}”, but the file says {code}"
        yield CheckedClaim(said, "modality", "contradicted", reason)
