"""The grounded critic: completeness, logic, and every stated fact against the mask."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from Sim4SegCore.modeling.answer import UNKNOWN_DIAGNOSIS, Answer
from Sim4SegCore.reasoning.agreement import objection
from Sim4SegCore.reasoning.claims import Claim, ClaimKind, is_negated, names_of, read_claims

from ..records import NORMAL_DIAGNOSES
from ..targets import synonyms
from .queries import neighbours
from .subject import PATHOLOGIES, Subject

STEP_NAMES = ("modality", "analysis", "consideration", "diagnosis")


@dataclass(frozen=True)
class Verdict:
    """A critic's word on one answer.

    Attributes:
        critic: name of the critic, or of several joined by "+".
        reasons: why it was rejected; empty if accepted.
        unchecked: statements that could be neither confirmed nor refuted.
    """

    critic: str
    reasons: tuple[str, ...]
    unchecked: tuple[str, ...] = ()

    @property
    def accepted(self) -> bool:
        """Whether there is nothing to object to."""
        return not self.reasons


class GroundedCritic:
    """Needs no model: compares the text with the record and the mask."""

    name = "grounded"

    def judge(self, subject: Subject, answer: Answer) -> Verdict:
        """All objections at once, so that the next attempt can mend them all."""
        missing = tuple(_missing_steps(answer))
        reasoning = f"{answer.analysis.rstrip('. ')}. {answer.consideration}"
        claims = read_claims(reasoning, subject.item.targets, neighbours(subject.item), synonyms)
        reasons = (
            *missing,
            *_modality(subject, answer),
            *_presence(subject, claims),
            *_contradictions(claims),
            *_disagreements(subject, claims),
            *_diagnosis(subject, answer, reasoning),
        )
        return Verdict(self.name, tuple(dict.fromkeys(reasons)), tuple(_unchecked(subject, claims)))


def _missing_steps(answer: Answer) -> Iterator[str]:
    for name, step in zip(STEP_NAMES, answer.steps, strict=True):
        if not re.search(r"\w", step):
            yield f"missing step: {name}"


def _modality(subject: Subject, answer: Answer) -> Iterator[str]:
    record = subject.item.record
    if answer.modality.strip() and record.modality.lower() not in answer.modality.lower():
        yield (
            f"modality: the text says “{answer.modality.strip()}”, "
            f"but the image is {record.modality} of the {record.body_part}"
        )


def _presence(subject: Subject, claims: list[Claim]) -> Iterator[str]:
    for target in subject.item.targets:
        about = [claim for claim in claims if claim.target == target]
        stated = {claim.value for claim in about if claim.kind == "presence"}
        present = subject.is_present(target)
        if not stated and not (about and len(subject.item.targets) == 1):
            yield f"the text does not say whether the {target} is there"
        elif stated == {"present", "absent"}:
            yield f"contradiction: the {target} is said to be there and not to be there"
        elif present and "absent" in stated:
            yield f"presence: the text denies the {target}, but it is in the image"
        elif not present and "absent" not in stated:
            yield f"presence: the text describes the {target}, but it is not in the image"


def _contradictions(claims: list[Claim]) -> Iterator[str]:
    """Two sides, two contrasts or two borders of one target: seen even without a mask."""
    opposites: tuple[tuple[ClaimKind, str, str], ...] = (
        ("place", "left", "right"),
        ("place", "upper", "lower"),
        ("contrast", "brighter", "darker"),
        ("border", "sharp", "blurred"),
        ("shape", "round", "elongated"),
        ("size", "tiny", "large"),
        ("size", "small", "large"),
    )
    said = {
        (claim.target, claim.kind, word): claim.quote
        for claim in claims
        if not claim.negated
        for word in claim.value.split()
    }
    for target in dict.fromkeys(claim.target for claim in claims):
        for kind, one, other in opposites:
            first, second = said.get((target, kind, one)), said.get((target, kind, other))
            if first and second:
                yield f"contradiction: the {target} is said to be “{first}” and “{second}”"


def _disagreements(subject: Subject, claims: list[Claim]) -> Iterator[str]:
    for claim in claims:
        facts = subject.facts.get(claim.target)
        reason = objection(claim, facts) if facts is not None else None
        if reason is not None:
            yield reason


def _diagnosis(subject: Subject, answer: Answer, reasoning: str) -> Iterator[str]:
    stated, wanted = answer.diagnosis.strip().rstrip(".").lower(), subject.item.diagnosis
    if stated and stated != wanted.lower():
        if wanted == UNKNOWN_DIAGNOSIS:
            yield f"diagnosis: the text names “{stated}”, but none is known for this query"
        else:
            yield f"diagnosis: the text ends with “{stated}”, but the image is known as “{wanted}”"
    abnormal = [t for t in subject.item.targets if t in PATHOLOGIES and subject.is_present(t)]
    if stated in NORMAL_DIAGNOSES and abnormal:
        yield f"contradiction: the diagnosis is “{stated}”, but the {abnormal[0]} is in the image"
    for label in sorted(subject.labels - {wanted} - NORMAL_DIAGNOSES):
        if _affirms(reasoning, label, subject):
            yield f"contradiction: the reasoning speaks of “{label}”, the diagnosis is “{wanted}”"


def _affirms(text: str, label: str, subject: Subject) -> bool:
    """Whether a text names another diagnosis than the wanted one, without denying it."""
    wanted, label = subject.item.diagnosis.lower(), label.lower()
    denied = wanted.startswith(("no ", "not "))
    if label in wanted and not denied:
        return False
    if any(names_of(target, synonyms).fullmatch(label) for target in subject.item.targets):
        return False  # the question's own word, which the presence check deals with
    low = text.lower().replace(wanted, "_" * len(wanted))
    found = re.finditer(rf"(?<![\w-]){re.escape(label)}(?![\w-])", low)
    return any(not is_negated(low, match.start()) for match in found)


def _unchecked(subject: Subject, claims: list[Claim]) -> Iterator[str]:
    for claim in claims:
        if claim.kind == "presence" or claim.target in subject.facts:
            continue
        if claim.target not in subject.item.targets:
            yield f"{claim.kind} of the {claim.target}: “{claim.quote}” (not asked for)"
        elif subject.is_present(claim.target):
            yield f"{claim.kind} of the {claim.target}: “{claim.quote}” (the mask is not known)"
