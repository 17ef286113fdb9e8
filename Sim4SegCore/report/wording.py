"""Numbers and diagnoses in words. Knows nothing of images."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..case import Diagnosis, Familiarity

RESEARCH_NOTICE = (
    "This text was produced by a research tool; it is not a medical device and must not be "
    "used for diagnosis or treatment."
)
OUTSIDE_WARNING = (
    "This image is outside what the model was trained on: rely on neither mask nor diagnosis, "
    "however sure they seem"
)
OUTSIDE_DIAGNOSIS_WARNING = (
    "These slices are outside what the language model was trained on: do not rely on the "
    "diagnosis, however sure it seems"
)
"""Of volumes whose mask another network draws, which has its own say in what it knows."""
UNTAUGHT_WARNING = (
    "The model was trained on no image of this modality ({code}): rely on neither mask nor "
    "diagnosis, however sure they seem"
)
OUTSIDE_CAPTION = "Outside what the model was trained on"
NO_DIAGNOSIS = "No diagnosis is suggested"
MOST_CANDIDATES = 3
"""How many candidates an uncertain diagnosis is told as."""
LIKELY = 0.05
"""Alternatives that are less probable are not told."""


def outside_warning(familiarity: Familiarity) -> str:
    """Why an image is outside, for its reader."""
    if familiarity.untaught_modality is None:
        return OUTSIDE_WARNING
    return UNTAUGHT_WARNING.format(code=familiarity.untaught_modality)


def percent(share: float) -> str:
    """ "48 %", "<1 %", or "unknown" if it is no number."""
    if not math.isfinite(share):
        return "unknown"
    if 0 < share < 0.01:
        return "<1 %"
    if 0.99 < share < 1:
        return ">99 %"
    return f"{100 * share:.0f} %"


def length(value: float, unit: str) -> str:
    """A diameter as precise as an outline is: whole pixels, tenths of a millimetre."""
    return f"{value:.0f}" if unit == "px" or value >= 100 else f"{value:.1f}"


def diagnosis_words(diagnosis: Diagnosis) -> str:
    """ "melanoma (72 %)", "uncertain: melanoma (48 %) or common nevus (41 %)", or that none is."""
    if diagnosis.uncertain:
        named = [_with_share(label, share) for label, share in candidates(diagnosis)]
        if named:
            return f"uncertain: {listed(named, 'or')}"
    if not diagnosis.label:
        return NO_DIAGNOSIS.lower()
    return _with_share(diagnosis.label, diagnosis.confidence)


def candidates(diagnosis: Diagnosis) -> list[tuple[str, float]]:
    """What an uncertain diagnosis is most likely one of, at most MOST_CANDIDATES."""
    ranked = list(diagnosis.alternatives)
    if diagnosis.label:
        ranked.insert(0, (diagnosis.label, diagnosis.confidence))
    if not ranked:
        return []
    best = ranked[0][1]
    # Half as probable as the first is still worth thinking of; the second always is.
    rivals = [pair for n, pair in enumerate(ranked) if n < 2 or pair[1] >= best / 2]
    return [pair for pair in rivals if pair[1] >= LIKELY][:MOST_CANDIDATES] or ranked[:1]


def other_likely(diagnosis: Diagnosis) -> list[tuple[str, float]]:
    """Alternatives worth telling."""
    return [(label, share) for label, share in diagnosis.alternatives if share >= LIKELY]


def listed(words: Sequence[str], last: str = "and") -> str:
    """ "a", "a and b", "a, b and c"."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def one_line(text: str) -> str:
    """Free text without line breaks and control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def sentence(text: str) -> str:
    """Free text with a capital letter and a full stop."""
    flat = one_line(text)
    if not flat:
        return ""
    return flat[0].upper() + flat[1:] + ("" if flat[-1] in ".!?…" else ".")


def _with_share(label: str, share: float) -> str:
    return f"{one_line(label)} ({percent(share)})"
