"""Does a claim agree with what was measured?

Words have soft edges: a mask of 4.9 percent may be called small or medium. Each check therefore
accepts a value within a tolerance of the measured one, wide enough for a fair description and
too narrow for a wrong one.
"""

from __future__ import annotations

from .claims import Claim
from .facts import (
    BLURRED_BORDER,
    BRANCHING_THICKNESS,
    CONTRAST_LEVELS,
    ELONGATED,
    OVAL,
    QUADRANTS,
    SHARP_BORDER,
    SIZE_LIMITS,
    Facts,
    Shape,
    Surroundings,
)

SLACK = 1.25
"""Factor by which a threshold may be missed."""
HALF_WAY = 0.5
"""Left is left of this fraction of the width; upper likewise."""
CENTRE_REACH = 0.17
"""Distance of the centre of gravity from the middle of an axis to count as central."""
QUADRANT_SHARE, EVERY_QUADRANT_SHARE = 0.4, 0.03
"""Share of the mask that a quadrant needs to be named; that each needs for "all four"."""


def objection(claim: Claim, facts: Facts) -> str | None:
    """Why the claim disagrees with the facts; None if it agrees.

    A denied claim disagrees only where the facts plainly are as it denies.
    """
    if claim.kind == "presence":
        return None
    wrong = _is_plainly(claim, facts) if claim.negated else not _holds(claim, facts)
    if not wrong:
        return None
    said = f"not {claim.quote}" if claim.negated else claim.quote
    return f"{claim.kind} of the {claim.target}: the text says “{said}”, {_fact(claim, facts)}"


def _holds(claim: Claim, facts: Facts) -> bool:
    value = claim.value
    match claim.kind:
        case "place":
            return _is_at(value.split(), facts.place.row, facts.place.column)
        case "quadrant":
            shares = facts.place.shares
            if value == "all":
                return min(shares) >= EVERY_QUADRANT_SHARE
            return shares[QUADRANTS.index(value)] >= QUADRANT_SHARE
        case "size":
            return _is_size(value, facts.fraction)
        case "percent":
            return _is_percent(value, 100 * facts.fraction)
        case "parts":
            sign, _, number = value.partition(" ")
            return facts.parts == int(number) if sign == "=" else facts.parts >= int(number)
        case "shape":
            return _is_shape(value, facts.shape)
        case _:
            return facts.surroundings is not None and _is_beside(value, facts.surroundings)


def _is_at(words: list[str], row: float, column: float) -> bool:
    sides = {
        "upper": row <= HALF_WAY,
        "lower": row >= HALF_WAY,
        "left": column <= HALF_WAY,
        "right": column >= HALF_WAY,
    }
    if not all(sides[word] for word in words if word in sides):
        return False
    if "centre" not in words:
        return True
    # "Middle left" is in the middle of the axis of which it names no side.
    free_row = {"upper", "lower"}.isdisjoint(words)
    free_column = {"left", "right"}.isdisjoint(words)
    return not (
        (free_row and abs(row - HALF_WAY) > CENTRE_REACH)
        or (free_column and abs(column - HALF_WAY) > CENTRE_REACH)
    )


def _is_size(word: str, fraction: float) -> bool:
    names = [name for _, name in SIZE_LIMITS] + ["large"]
    edges = [0.0, *(limit for limit, _ in SIZE_LIMITS), 1.0]
    n = names.index(word)
    return edges[n] / SLACK <= fraction <= edges[n + 1] * SLACK


def _is_percent(value: str, percent: float) -> bool:
    sign, _, number = value.partition(" ")
    stated = float(number)
    if sign == "<":
        return percent < stated * SLACK
    if sign == ">":
        return percent > stated / SLACK
    return abs(stated - percent) <= max(1.0, (SLACK - 1) * percent)


def _is_shape(word: str, shape: Shape) -> bool:
    if word == "branching":
        return shape.thickness < BRANCHING_THICKNESS * SLACK
    if word == "elongated":
        return shape.elongation > ELONGATED / SLACK
    if word == "oval":
        return OVAL / SLACK < shape.elongation < ELONGATED * SLACK
    return shape.elongation < OVAL * SLACK


def _is_beside(word: str, around: Surroundings) -> bool:
    contrast, border = around.contrast, around.border
    return {
        "brighter": contrast > CONTRAST_LEVELS / SLACK,
        "darker": contrast < -CONTRAST_LEVELS / SLACK,
        "similar": abs(contrast) < CONTRAST_LEVELS * SLACK,
        "sharp": border > SHARP_BORDER / SLACK,
        "partly": BLURRED_BORDER / SLACK < border < SHARP_BORDER * SLACK,
        "blurred": border < BLURRED_BORDER * SLACK,
    }[word]


def _is_plainly(claim: Claim, facts: Facts) -> bool:
    measured = _measured(claim, facts)
    if claim.kind == "place":
        return set(claim.value.split()) <= set(measured.split())
    return claim.value == measured


def _measured(claim: Claim, facts: Facts) -> str:
    """The canonical value that the facts would give this claim."""
    match claim.kind:
        case "place":
            return facts.place.words or "centre"
        case "quadrant":
            shares = facts.place.shares
            return QUADRANTS[shares.index(max(shares))]
        case "size":
            return facts.size_word
        case "percent":
            return f"= {100 * facts.fraction:.0f}"
        case "parts":
            return f"= {facts.parts}"
        case "shape":
            return facts.shape.word
    if facts.surroundings is None:
        return "none"
    around = facts.surroundings
    return around.contrast_word if claim.kind == "contrast" else around.border_word


def _fact(claim: Claim, facts: Facts) -> str:
    """What was measured, for people and for the next attempt."""
    match claim.kind:
        case "place":
            return (
                f"but its centre of gravity is at {100 * facts.place.column:.0f} percent of the "
                f"width and {100 * facts.place.row:.0f} percent of the height, that is in the "
                f"{facts.place.words or 'centre'}"
            )
        case "quadrant":
            shares = zip(QUADRANTS, facts.place.shares, strict=True)
            return "but the mask lies " + ", ".join(f"{100 * s:.0f} % {q}" for q, s in shares)
        case "size" | "percent":
            return (
                f"but it covers {100 * facts.fraction:.2g} percent of the image, "
                f"which is {facts.size_word}"
            )
        case "parts":
            return f"but the mask has {facts.parts} part{'s' if facts.parts > 1 else ''}"
        case "shape":
            return f"but its form is {facts.shape.word}"
    if facts.surroundings is None:
        return "but the mask fills the image and has no surroundings"
    words = _measured(claim, facts)
    return f"but measured it is {words}{' defined' if words == 'partly' else ''}"
