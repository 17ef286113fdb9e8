"""Words for training: queries in many phrasings, and answers from the record's own facts.

Every statement about the mask is measured on the mask as the network sees it, after
augmentation, so that the text stays true when the image is cut, flipped or turned.
"""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from Sim4SegCore.modeling.answer import OPENING, UNKNOWN_DIAGNOSIS, Answer

from .targets import ABNORMALITIES, PLURAL_TARGETS, questions_about, synonyms

CANONICAL_QUERY = "Is there a {target}? Segment it and tell me what it is."
CANONICAL_PLURAL_QUERY = "Segment the {target} and tell me what you see."
QUERIES = (
    CANONICAL_QUERY,
    "Is there a {target} in this image?",
    "Is there any {target}? Where is it?",
    "Where is the {target}? Segment it.",
    "Segment the {target}.",
    "Segment the {target} and tell me what it is.",
    "Segment the {target} and give a diagnosis.",
    "Please outline the {target}.",
    "Show me the {target}.",
    "Find the {target} in this {modality}.",
    "Could you help me identify the {target} in this {modality}?",
    "Can you find the {target} and suggest a possible diagnosis?",
    "Would you be able to segment the {target} in this {modality}? "
    "Please identify the disease shown.",
    "Delineate the {target}.",
    "Mark the {target}, please.",
    "Draw the outline of the {target}.",
    "Draw a mask of the {target} for me.",
    "I am looking for a {target}. Is there one?",
    "Do you see a {target} here?",
    "Does this {modality} show a {target}?",
    "Where exactly does the {target} lie?",
    "Contour the {target} and describe it.",
    "Highlight the {target} and say what it could be.",
    "Locate the {target}.",
    "Which pixels belong to the {target}?",
    "Measure the {target}.",
    "{target}",
    "Segmentation of the {target}",
    "Check this {modality} for a {target}.",
    "Has this patient a {target}? If so, segment it.",
)
PLURAL_QUERIES = (
    CANONICAL_PLURAL_QUERY,
    "Segment the {target}.",
    "Are there {target} in this image? Segment them.",
    "Where are the {target}? Segment them and give a diagnosis.",
    "Please outline the {target}.",
    "Show me the {target}.",
    "Could you help me identify the {target} in this {modality}?",
    "Can you find the {target} and suggest a possible diagnosis?",
    "Delineate the {target}.",
    "Mark the {target}, please.",
    "Draw a mask of the {target} for me.",
    "Do you see any {target} here?",
    "Does this {modality} show {target}?",
    "Highlight the {target} and say what they could be.",
    "Locate the {target}.",
    "Which pixels belong to the {target}?",
    "{target}",
    "Segmentation of the {target}",
    "Check this {modality} for {target}.",
)
OPEN_QUERIES = (
    "Can you identify abnormalities in this image and suggest a possible diagnosis?",
    "What is wrong in this {modality}? Segment it.",
    "Please identify and segment the disease area shown in this {modality}.",
    "What do you see? Segment the abnormality and tell me what it is.",
)


def plain_query(target: str) -> str:
    """The target's query without a set's own question."""
    template = CANONICAL_PLURAL_QUERY if target in PLURAL_TARGETS else CANONICAL_QUERY
    return template.format(target=target)


def canonical_query(target: str, dataset: str) -> str:
    """The one phrasing that evaluation uses: the target's plain query and the set's question."""
    return f"{plain_query(target)} {questions_about(dataset)[0]}"


def random_query(target: str, dataset: str | None, modality: str, rng: random.Random) -> str:
    """One of many phrasings; `dataset` None leaves out the set's own question."""
    if target in ABNORMALITIES and dataset and rng.random() < 0.06:
        query = rng.choice(OPEN_QUERIES).format(modality=modality)
    else:
        templates = PLURAL_QUERIES if target in PLURAL_TARGETS else QUERIES
        name = target if rng.random() < 0.5 else rng.choice(synonyms(target))
        query = rng.choice(templates).format(target=name, modality=modality)
    if dataset and rng.random() < 0.7:
        query = f"{query} {rng.choice(questions_about(dataset))}"
    if rng.random() < 0.1:
        query = query.rstrip(".?")
    return query.lower() if rng.random() < 0.2 else query


@dataclass(frozen=True)
class MaskFacts:
    """What can be said of a mask in words."""

    location: str
    size: str
    percent: str
    contrast: str
    shape: str


def measure_facts(mask: NDArray[np.bool_], grey: NDArray[np.float32]) -> MaskFacts:
    """Facts of a non-empty mask.

    Args:
        mask: bool (H, W) of the part of the input that shows the image.
        grey: (H, W) intensities of the same pixels.
    """
    rows, columns = np.nonzero(mask)
    height, width = mask.shape
    vertical = _third(rows.mean() / height, "upper", "lower")
    horizontal = _third(columns.mean() / width, "left", "right")
    words = [word for word in (vertical, horizontal) if word]
    location = f"in the {' '.join(words)} part" if words else "in the centre"
    fraction = mask.mean()
    size = next(
        (w for limit, w in ((0.01, "tiny"), (0.05, "small"), (0.2, "medium")) if fraction < limit),
        "large",
    )
    percent = "less than 1" if fraction < 0.01 else str(_round_percent(fraction))
    return MaskFacts(location, size, percent, _contrast(mask, grey), _shape(rows, columns))


def _third(position: float, low: str, high: str) -> str:
    return low if position < 0.42 else high if position > 0.58 else ""


def _round_percent(fraction: float) -> int:
    percent = 100 * fraction
    return round(percent) if percent < 10 else 5 * round(percent / 5)


def _contrast(mask: NDArray[np.bool_], grey: NDArray[np.float32]) -> str:
    rows, columns = np.nonzero(mask)
    top, left = max(rows.min() - 8, 0), max(columns.min() - 8, 0)
    box = (slice(top, rows.max() + 9), slice(left, columns.max() + 9))
    around = grey[box][~mask[box]]
    if around.size == 0:
        return "similar to"
    difference = float(grey[mask].mean() - around.mean())
    return (
        "brighter than" if difference > 12 else "darker than" if difference < -12 else "similar to"
    )


def _shape(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> str:
    spread = np.cov(np.stack([rows, columns])) if len(rows) > 2 else np.eye(2)
    low, high = np.linalg.eigvalsh(spread + 1e-6 * np.eye(2))
    return "elongated" if high > 4 * low else "oval" if high > 1.7 * low else "round"


@dataclass(frozen=True)
class TaughtAnswer:
    """An answer and which of its steps the loss may look at.

    Attributes:
        supervised: per step; False where the record does not say what the step asserts.
    """

    answer: Answer
    supervised: tuple[bool, bool, bool, bool]

    def without_reasoning(self) -> TaughtAnswer:
        """The same diagnosis, said at once."""
        answer = Answer("", "", "", self.answer.diagnosis, chain_of_thought=False)
        return dataclasses.replace(self, answer=answer)

    def with_seg_after_reasoning(self) -> TaughtAnswer:
        """The same words, with [SEG] between the reasoning and the diagnosis."""
        answer = dataclasses.replace(self.answer, seg_after_reasoning=True)
        return dataclasses.replace(self, answer=answer)

    @property
    def segments(self) -> list[tuple[str, bool]]:
        """Text in the pieces that are tokenised one by one, with what is supervised."""
        pieces = list[tuple[str, bool]]()
        said = self.answer.said
        for (lead, step), taught in zip(said, self.supervised[-len(said) :], strict=True):
            pieces += [(lead, False), (f" {step}.", taught)]
        pieces.insert(2 * self.answer.steps_before_seg, (OPENING, False))
        return pieces


def write_answer(
    target: str,
    present: bool,
    facts: MaskFacts | None,
    modality: str,
    body_part: str,
    diagnosis: str | None,
    rng: random.Random,
) -> TaughtAnswer:
    """The answer in the paper's four steps.

    Args:
        facts: of the mask; None if the target is absent or its mask is unknown.
        diagnosis: None if unknown: the last step is then not supervised.
    """
    verb = "are" if target in PLURAL_TARGETS else "is"
    pronoun = "they are" if target in PLURAL_TARGETS else "it is"
    stated = True
    if not present:
        analysis = f"no {target} {verb} visible"
        consideration = "nothing in the image points to it"
    elif facts is None or rng.random() < 0.15:
        analysis, stated = f"the {target} {verb} visible", False
        consideration = "the picture speaks for itself"
    else:
        analysis = (
            f"the {target} {verb} visible {facts.location} of the image, {pronoun} {facts.size} "
            f"and covers about {facts.percent} percent of it"
        ).replace("are " + facts.size + " and covers", "are " + facts.size + " and cover")
        consideration = f"{pronoun} {facts.shape} and {facts.contrast} the surroundings"
    answer = Answer(
        modality=f"{modality} of the {body_part}",
        analysis=analysis,
        consideration=consideration,
        diagnosis=diagnosis or UNKNOWN_DIAGNOSIS,
    )
    known = (present and stated) or not present
    return TaughtAnswer(answer, (True, known, known, diagnosis is not None))
