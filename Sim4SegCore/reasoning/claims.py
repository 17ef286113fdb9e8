"""Statements that can be checked, read out of any text.

The reader is deliberately narrow: a word counts as a statement about the target only in a
position where it can hardly mean anything else ("in the upper left part", not "the left lung").
What it does not recognise is left for the other critics and for people.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

NamesOf = Callable[[str], Iterable[str]]
"""Other names of a target, from which a text may choose."""

ClaimKind = Literal[
    "presence", "place", "quadrant", "size", "percent", "parts", "shape", "border", "contrast"
]


@dataclass(frozen=True)
class Claim:
    """One statement about one target.

    Attributes:
        value: canonical: "present", "upper left", "small", "= 3", "brighter", …
        negated: the text says that it is not so.
        quote: the words in the text.
    """

    target: str
    kind: ClaimKind
    value: str
    negated: bool
    quote: str


@dataclass(frozen=True)
class _Rule:
    kind: ClaimKind
    value: str
    pattern: re.Pattern[str]


def _rule(kind: ClaimKind, value: str, pattern: str) -> _Rule:
    return _Rule(kind, value, re.compile(pattern))


EDGE = r"(?:borders?|margins?|edges?|outlines?|contours?|boundar(?:y|ies))"
RULES = (
    _rule("border", "partly", r"\b(?:only )?(?:partly|partially|moderately)[ -](?:well[ -])?"
          r"(?:defined|circumscribed|blurred)\b"),
    _rule("border", "blurred", rf"\b(?:ill|poorly)[ -](?:defined|circumscribed|demarcated)\b"
          rf"|\b(?:blurred|blurry|indistinct|fuzzy|unclear|unsharp) {EDGE}"
          rf"|{EDGE} (?:is|are) (?:blurred|blurry|indistinct|fuzzy|unclear|unsharp)\b"),
    _rule("border", "sharp", r"\b(?:well|sharply|clearly)[ -](?:defined|circumscribed|demarcated)"
          rf"\b|\b(?:sharp|clear|distinct) {EDGE}|{EDGE} (?:is|are) (?:sharp|clear|distinct)\b"),
    _rule("contrast", "similar", r"\bsimilar (?:in (?:brightness|intensity) )?to (?:the|its|their) "
          r"surround\w*|\biso(?:intense|echoic|dense)\b"),
    _rule("contrast", "brighter", r"\b(?:brighter|lighter|whiter)\b"
          r"|\bhyper(?:intense|echoic|dense)\b"),
    _rule("contrast", "darker", r"\bdarker\b|\bhypo(?:intense|echoic|dense)\b"),
    _rule("shape", "branching", r"\bbranch(?:ing|ed)\b"),
    _rule("shape", "elongated", r"\b(?:elongated|linear|tubular)\b"),
    _rule("shape", "oval", r"\b(?:oval|ovoid|elliptical)\b"),
    _rule("shape", "round", r"\b(?:round|rounded|circular)\b"),
    _rule("size", "tiny", r"\b(?:tiny|minute)\b"),
    _rule("size", "small", r"\bsmall(?:-sized)?\b"),
    _rule("size", "medium", r"\bmedium(?:-sized)?\b|\bmoderate(?:ly)?[ -]sized?\b"),
    _rule("size", "large", r"\b(?:large(?:-sized)?|extensive|huge|sizeable)\b"),
)  # fmt: skip
"""In an order in which the longer phrase is taken before a word of it."""

DIRECTIONS = {
    "upper": "upper", "top": "upper", "superior": "upper",
    "lower": "lower", "bottom": "lower", "inferior": "lower",
    "left": "left", "right": "right",
    "centre": "centre", "center": "centre", "central": "centre", "middle": "centre",
}  # fmt: skip
_ANY_DIRECTION = "|".join(DIRECTIONS)
_PLACE_NOUN = r"(?:parts?|half|thirds?|sides?|regions?|areas?|corner|portion|zone|edge)"
_PICTURE = r"(?:image|picture|frame|scan)"
_PLACE = re.compile(
    rf"\b((?:{_ANY_DIRECTION})(?:[ -](?:{_ANY_DIRECTION}))*)"
    # "The right half of the chest" is the patient's right, which no image tells.
    rf"(?= of the {_PICTURE}\b| {_PLACE_NOUN}\b(?! of the (?!{_PICTURE}\b))|$|[,;])"
)
_QUADRANT = re.compile(r"\b(upper|lower|top|bottom|superior|inferior)[ -](left|right) quadrant\b")
_REVERSED_QUADRANT = re.compile(r"\b(left|right)[ -](upper|lower) quadrant\b")
_ALL_QUADRANTS = re.compile(r"\b(?:all (?:four )?|each |every |each of the four )quadrants?\b")
_PERCENT = re.compile(
    r"(?:\b(less than|under|below|more than|over|above)\s+)?"
    r"(\d+(?:\.\d+)?)\s*(?:%|percent\b|per cent\b)"
)
NUMBER_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
)  # fmt: skip
_MANY = {"several": ">= 2", "multiple": ">= 2", "many": ">= 4", "numerous": ">= 4"}
_PARTS = re.compile(
    rf"\b(single|{'|'.join(NUMBER_WORDS)}|\d+|{'|'.join(_MANY)})"
    # Looked at, not taken: "three small regions" also states a size.
    r"(?=\s+(?:(?:separate|distinct|connected|tiny|small|large)\s+)?"
    r"(?:regions?|areas?|parts|foci|focus|spots?|components?|pieces?|patch(?:es)?)\b)"
)
_NEGATION = re.compile(
    r"\b(?:not|no|without|neither|nor|never|rather than)\s+"
    r"(?:(?!but\b|and\b|only\b)[\w-]+\s+){0,2}$"
)
_CLAUSE_END = re.compile(r"[;!?]|\.(?=\s|$)|\n")
_NAME = "@"
"""Stands for the target's name, so that its own words are no statements."""
_ABSENT = re.compile(
    rf"\b(?:no|without|absence of|free of|neither|nor|rules? out)\s+(?:any\s+|an?\s+|the\s+)?"
    rf"(?:\w+\s+){{0,2}}{_NAME}"
    rf"|\bno (?:sign|evidence|trace|indication)s? of\b"
    rf"|\bnothing\b.*\b(?:it|them|{_NAME})\b"
    rf"|{_NAME} (?:is|are|was|were) (?:not\b|absent\b|nowhere\b)"
    rf"|\b(?:not|cannot|can't|could not) (?:be )?(?:see|seen|find|found|identif\w+|show|visible)"
    rf"[^,]*{_NAME}"
    rf"|{_NAME} (?:cannot|can't|could not) be"
)


def own_name(target: str) -> tuple[str, ...]:
    """The target's own name alone."""
    return (target,)


def read_claims(
    text: str,
    targets: Sequence[str],
    others: Sequence[str] = (),
    synonyms: NamesOf = own_name,
) -> list[Claim]:
    """All claims of a text, in reading order of clause and kind.

    A clause that names no target goes on speaking of the last one named, at the start of the
    first target.

    Args:
        targets: asked for, at least one.
        others: what the text may turn to as well; their claims come back under their own names.
        synonyms: of any of them.
    """
    claims: list[Claim] = []
    current = targets[0]
    for clause in _CLAUSE_END.split(text.lower()):
        for target, piece in _pieces(clause, [*targets, *others], synonyms):
            current = target or current
            claims += _claims_of_piece(piece, current, named=target is not None)
    return claims


def names_of(target: str, synonyms: NamesOf = own_name) -> re.Pattern[str]:
    """Matches the target and its synonyms, in the singular or plural."""
    names = sorted({target, *synonyms(target)}, key=len, reverse=True)
    return re.compile(rf"\b(?:{'|'.join(re.escape(name) for name in names)})s?\b")


def is_negated(text: str, position: int) -> bool:
    """Whether the words just before a position deny what stands there."""
    return _NEGATION.search(text[:position]) is not None


def _pieces(
    clause: str, targets: Sequence[str], synonyms: NamesOf
) -> Iterator[tuple[str | None, str]]:
    """A clause cut where it turns to another target, names replaced."""
    mentions = sorted(
        (match.start(), match.end(), target)
        for target in targets
        for match in names_of(target, synonyms).finditer(clause)
    )
    if not mentions:
        yield None, clause
        return
    piece, current, position = "", mentions[0][2], 0
    for start, end, target in mentions:
        if start < position:
            continue
        between = clause[position:start]
        if target != current:
            # What leads over to the next name ("…, and the") already belongs to it.
            said, comma, lead = between.rpartition(",")
            yield current, piece + (said if comma else between)
            piece, current, between = "", target, lead if comma else ""
        piece += between + _NAME
        position = end
    yield current, piece + clause[position:]


def _claims_of_piece(piece: str, target: str, named: bool) -> Iterator[Claim]:
    absent = _ABSENT.search(piece)
    if absent:
        yield Claim(target, "presence", "absent", False, piece.replace(_NAME, target).strip())
        return
    if named:
        yield Claim(target, "presence", "present", False, piece.replace(_NAME, target).strip())
    for kind, value, start, quote in _statements(piece):
        yield Claim(target, kind, value, is_negated(piece, start), quote.strip())


def _statements(piece: str) -> Iterator[tuple[ClaimKind, str, int, str]]:
    left = piece

    def take(match: re.Match[str]) -> None:
        nonlocal left
        left = left[: match.start()] + "_" * len(match[0]) + left[match.end() :]

    for match in _ALL_QUADRANTS.finditer(left):
        yield "quadrant", "all", match.start(), match[0]
        take(match)
    for match in [*_QUADRANT.finditer(left), *_REVERSED_QUADRANT.finditer(left)]:
        words = sorted((DIRECTIONS[match[1]], DIRECTIONS[match[2]]), reverse=True)
        vertical = next(word for word in words if word in ("upper", "lower"))
        horizontal = next(word for word in words if word in ("left", "right"))
        yield "quadrant", f"{vertical} {horizontal}", match.start(), match[0]
        take(match)
    for match in _PERCENT.finditer(left):
        sign = {"l": "<", "u": "<", "b": "<", "m": ">", "o": ">", "a": ">"}.get(
            (match[1] or "=")[0], "="
        )
        yield "percent", f"{sign} {match[2]}", match.start(), match[0]
        take(match)
    for match in _PARTS.finditer(left):
        yield "parts", _count(match[1]), match.start(), match[0]
        take(match)
    for match in _PLACE.finditer(left):
        words = re.split(r"[ -]", match[1])
        yield "place", " ".join(DIRECTIONS[word] for word in words), match.start(), match[0]
        take(match)
    for rule in RULES:
        for match in rule.pattern.finditer(left):
            yield rule.kind, rule.value, match.start(), match[0]
            take(match)


def _count(word: str) -> str:
    if word in _MANY:
        return _MANY[word]
    if word.isdigit():
        return f"= {word}"
    return "= 1" if word == "single" else f"= {NUMBER_WORDS.index(word)}"
