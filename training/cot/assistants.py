"""Generator and critic: what they are, and the two that a vision-language model plays.

After the paper: the Medical Assistant gets image, question and diagnosis and writes the chain of
thought; the Critical Assistant judges its completeness, logic and medical reliability.
"""

from __future__ import annotations

import json
import re
from typing import Any, Protocol

from Sim4SegCore.modeling.answer import UNKNOWN_DIAGNOSIS, Answer
from Sim4SegCore.reasoning.facts import Facts

from .chat import Chat, Prompt
from .critic import STEP_NAMES, Verdict
from .picture import COLOURS, outlined
from .subject import Subject


class Generator(Protocol):
    """Writes answers."""

    @property
    def name(self) -> str:
        """For the record of who wrote what."""
        ...

    def write(self, subject: Subject, objections: tuple[str, ...], attempt: int) -> Answer:
        """An answer; objections are those against the attempt before, which counts from 1."""
        ...


class Critic(Protocol):
    """Judges answers."""

    @property
    def name(self) -> str:
        """For the record of who judged."""
        ...

    def judge(self, subject: Subject, answer: Answer) -> Verdict:
        """Accepts, or rejects with reasons."""
        ...


MEDICAL_ROLE = (
    "You are an experienced radiologist who explains to students how a reading follows from what "
    "the image shows. You state only what can be seen, in plain words."
)
CRITICAL_ROLE = (
    "You are a strict medical examiner. You check explanations of medical images for "
    "completeness, logic and medical reliability, and object to anything the image does not show."
)
FORM = (
    "Answer in exactly four sentences that start like this:\n"
    "Firstly, the modality of the image is …\n"
    "Secondly, I will start to analyze the image: … (is the structure there, where, how large)\n"
    "Thirdly, considering these observations, … (shape, border, contrast, and what follows)\n"
    "Finally, the diagnosis is …\n"
    "Left and right mean the sides of the picture. Begin the analysis with “the … is visible” or "
    "“no … is visible”."
)
VERDICT_FORM = (
    "Reply with one JSON object and nothing else: "
    '{"complete": true or false, "logical": true or false, "reliable": true or false, '
    '"reasons": ["one sentence for each objection"]}'
)
CRITERIA = ("complete", "logical", "reliable")
COLOUR_NAMES = ("light blue", "orange", "violet")
NO_VERDICT = "the critic gave no readable verdict"
VERDICT_TRIES = 2


class MedicalAssistant:
    """The generator that a vision-language model plays."""

    def __init__(self, chat: Chat) -> None:
        """Args: chat: the model."""
        self._chat = chat

    @property
    def name(self) -> str:
        """The model's name."""
        return self._chat.name

    def write(self, subject: Subject, objections: tuple[str, ...], attempt: int) -> Answer:
        """Steps that the model leaves out stay empty, for the critic to notice."""
        return parse_answer(self._chat.reply(self._prompt(subject, objections, attempt)))

    def _prompt(self, subject: Subject, objections: tuple[str, ...], attempt: int) -> Prompt:
        lines = [f"Question: {subject.item.query}", *_known(subject), FORM]
        if objections:
            lines.append("An earlier answer was rejected. Avoid what was objected to:")
            lines += [f"- {reason}" for reason in objections]
        if attempt > 1:
            lines.append(f"This is attempt {attempt}.")
        return Prompt(MEDICAL_ROLE, "\n".join(lines), outlined(subject))


class CriticalAssistant:
    """The critic that a vision-language model plays."""

    def __init__(self, chat: Chat) -> None:
        """Args: chat: the model."""
        self._chat = chat

    @property
    def name(self) -> str:
        """The model's name."""
        return self._chat.name

    def judge(self, subject: Subject, answer: Answer) -> Verdict:
        """A verdict that cannot be read counts as a rejection: a person will see it."""
        lines = [f"Question: {subject.item.query}", *_known(subject), "Explanation to judge:"]
        lines += [answer.reasoning, VERDICT_FORM]
        for number in range(1, VERDICT_TRIES + 1):
            again = [f"Your last reply was no JSON object. Try {number}."] if number > 1 else []
            text = "\n".join([*lines, *again])
            reasons = _read_reasons(
                self._chat.reply(Prompt(CRITICAL_ROLE, text, outlined(subject)))
            )
            if reasons is not None:
                return Verdict(self.name, reasons)
        return Verdict(self.name, (NO_VERDICT,))


class JointCritic:
    """Several critics in turn; the first that rejects has the last word."""

    def __init__(self, critics: tuple[Critic, ...]) -> None:
        """Args: critics: the cheapest first."""
        self._critics = critics
        self.name = "+".join(critic.name for critic in critics)

    def judge(self, subject: Subject, answer: Answer) -> Verdict:
        """Accepted only if all accept."""
        unchecked: tuple[str, ...] = ()
        for critic in self._critics:
            verdict = critic.judge(subject, answer)
            unchecked += verdict.unchecked
            if not verdict.accepted:
                return Verdict(critic.name, verdict.reasons, unchecked)
        return Verdict(self.name, (), unchecked)


def parse_answer(text: str) -> Answer:
    """The four steps of a model's reply; a step that is not there is empty."""
    steps = dict.fromkeys(STEP_NAMES, "")
    found = sorted(
        (match.start(), match.end(), name)
        for name, lead in _LEADS.items()
        if (match := lead.search(text))
    )
    for n, (_, end, name) in enumerate(found):
        until = found[n + 1][0] if n + 1 < len(found) else len(text)
        steps[name] = " ".join(text[end:until].split()).strip("*# ").rstrip(". ")
    # One sentence: what a model adds after the diagnosis is none.
    steps["diagnosis"] = re.split(r"\.(?:\s|$)|\*\*", steps["diagnosis"])[0].strip()
    modality, analysis, consideration, diagnosis = (steps[name] for name in STEP_NAMES)
    return Answer(modality, analysis, consideration, diagnosis)


_LEADS = {
    "modality": re.compile(
        r"\bfirst(?:ly,?|,)\s+(?:the modality of (?:the|this) image is\b)?", re.I
    ),
    "analysis": re.compile(
        r"\bsecond(?:ly,?|,)\s+(?:I will (?:start to|now) analy[sz]e the image\b:?)?", re.I
    ),
    "consideration": re.compile(
        r"\bthird(?:ly,?|,)\s+(?:considering these observations\b,?)?", re.I
    ),
    "diagnosis": re.compile(r"\bfinally,?\s+(?:the diagnosis is\b:?)?", re.I),
}


def _known(subject: Subject) -> list[str]:
    """What the record and the masks say, for both assistants."""
    record = subject.item.record
    lines = [f"The image is {record.modality} of the {record.body_part}."]
    colours = dict(zip(subject.masks, COLOUR_NAMES[: len(COLOURS)], strict=False))
    for target in subject.item.targets:
        if not subject.is_present(target):
            lines.append(f"There is no {target} in the image; the answer has to say so.")
        elif target in subject.facts:
            lines.append(
                f"The {target} is outlined in {colours[target]}. Measured: "
                f"{describe(subject.facts[target])}."
            )
        else:
            lines.append(f"The {target} is in the image; its outline is not known.")
    if subject.names_no_diagnosis:
        lines.append(f"No diagnosis is known: the last sentence says “{UNKNOWN_DIAGNOSIS}”.")
    else:
        lines.append(f"The diagnosis is known to be exactly “{subject.item.diagnosis}”.")
    return lines


def describe(facts: Facts) -> str:
    """Facts in a line, for prompts and for the review page."""
    place = facts.place.words or "centre"
    parts = "one part" if facts.parts == 1 else f"{facts.parts} parts"
    said = [place, f"{facts.size_word}, {facts.percent} percent of the image", parts]
    said.append(facts.shape.word)
    if facts.surroundings is not None:
        around = facts.surroundings
        comparison = "to" if around.contrast_word == "similar" else "than"
        said.append(f"{around.contrast_word} {comparison} the surroundings")
        border = {"sharp": "well defined", "partly": "partly defined", "blurred": "ill-defined"}
        said.append(f"border {border[around.border_word]}")
    return "; ".join(said)


def _read_reasons(reply: str) -> tuple[str, ...] | None:
    """Objections of a verdict in JSON, wherever it stands in the reply; None if there is none."""
    start, end = reply.find("{"), reply.rfind("}")
    try:
        verdict: Any = json.loads(reply[start : end + 1])
        if not all(isinstance(verdict[name], bool) for name in CRITERIA):
            return None
        reasons = tuple(str(reason) for reason in verdict.get("reasons") or ())
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    failed = tuple(f"not {name}" for name in CRITERIA if not verdict[name])
    return (reasons or failed) if failed else ()
