"""The grounded writer: words a chain of thought from facts measured on the mask, without a model.

It says nothing that was not measured or recorded, so the only thing it can get wrong is style.
The analysis opens with "the … is visible" or "no … is seen", the form that Sim4SegCore reads
the target back from.
"""

from __future__ import annotations

import random

from Sim4SegCore.modeling.answer import Answer
from Sim4SegCore.reasoning.facts import QUADRANTS, Facts

from ..targets import PLURAL_TARGETS
from .subject import PATHOLOGIES, Subject

MOSTLY, EVERYWHERE = 0.5, 0.05
"""Share of a mask in one quadrant to lie "mostly" there; in each one to lie in all of them."""
COUNTED_PARTS = 5
"""More parts than this are "many"."""
NUMBERS = ("no", "one", "two", "three", "four", "five")

CONTRASTS = {
    "brighter": ("brighter than the surroundings", "lighter than what lies around {it}"),
    "darker": ("darker than the surroundings", "darker than what lies around {it}"),
    "similar": ("similar in brightness to the surroundings", "similar to the surroundings"),
}
BORDERS = {
    "sharp": ("{its} border is well defined", "{its} margin is sharp"),
    "partly": ("{its} border is partly defined", "{its} margin is only partly defined"),
    "blurred": ("{its} border is ill-defined", "{its} margin is blurred"),
}
SHAPES = {
    "round": ("round", "rounded"),
    "oval": ("oval", "ovoid"),
    "elongated": ("elongated",),
    "branching": ("thin and branching",),
}
NO_TRACES = ("nothing in the image points to {it}", "there is no sign of {it}")
CONCLUSIONS = (
    "so the reading is {}",
    "which together is read as {}",
    "the reading is therefore {}",
)


class GroundedWriter:
    """Writes from facts; the same subject and round give the same text."""

    name = "grounded"

    def __init__(self, seed: int) -> None:
        """Args: seed: of the choice among phrasings."""
        self._seed = seed

    def write(self, subject: Subject, objections: tuple[str, ...], attempt: int) -> Answer:
        """Another phrasing for another attempt; objections cannot change what was measured."""
        record_id, query = subject.item.key
        rng = random.Random(f"{self._seed}/{record_id}/{query}/{attempt}")
        record = subject.item.record
        targets = subject.item.targets
        sentences = [_Sentences(subject, target, len(targets) > 1, rng) for target in targets]
        considerations = [said for sentence in sentences if (said := sentence.consideration())]
        follows = subject.item.is_normal or any(
            t in PATHOLOGIES and subject.is_present(t) for t in targets
        )
        if follows and not subject.names_no_diagnosis and rng.random() < 0.7:
            conclusion = rng.choice(CONCLUSIONS).format(subject.item.diagnosis)
            considerations[-1] = f"{considerations[-1]}, {conclusion}"
        return Answer(
            modality=f"{record.modality} of the {record.body_part}",
            analysis="; ".join(sentence.analysis() for sentence in sentences),
            consideration="; ".join(considerations),
            diagnosis=subject.item.diagnosis,
        )


class _Sentences:
    """What is said of one target."""

    def __init__(self, subject: Subject, target: str, named: bool, rng: random.Random) -> None:
        plural = target in PLURAL_TARGETS
        self._subject, self._target, self._rng = subject, target, rng
        self._facts = subject.facts.get(target)
        self._it, self._its = ("they", "their") if plural else ("it", "its")
        self._them = "them" if plural else "it"
        self._are = "are" if plural else "is"
        self._cover = "cover" if plural else "covers"
        self._lie = "lie" if plural else "lies"
        self._topic = f"the {target}" if named else self._it

    def analysis(self) -> str:
        """Presence, then place, size and parts."""
        seen = f"{self._are} {self._rng.choice(('visible', 'seen'))}"
        if not self._subject.is_present(self._target):
            return f"no {self._target} {seen}{self._rng.choice(('', ' in the whole image'))}"
        if self._facts is None:
            return f"the {self._target} {seen}"
        details = [self._size(self._facts)]
        extra = [said for said in (self._parts(self._facts), self._quadrants(self._facts)) if said]
        details += [said for said in extra if self._rng.random() < 0.6]
        return f"the {self._target} {seen} {self._place(self._facts)}, {_listed(details)}"

    def consideration(self) -> str:
        """Shape, border and contrast in any order; at least two of them."""
        if not self._subject.is_present(self._target):
            traces = self._rng.choice(NO_TRACES).format(it=self._them)
            return traces if self._topic == self._it else f"for the {self._target}, {traces}"
        if self._facts is None:
            return f"{self._topic} {self._are} judged by the appearance as a whole"
        said = self._appearance(self._facts)
        kept = said[: self._rng.randint(2, 3)]
        return _listed([kept[0].replace(self._it, self._topic, 1), *kept[1:]])

    def _appearance(self, facts: Facts) -> list[str]:
        said = [f"{self._it} {self._are} {self._rng.choice(SHAPES[facts.shape.word])}"]
        around = facts.surroundings
        if around is None:
            return [*said, f"{self._it} {self._cover} the whole image"]
        contrast = self._rng.choice(CONTRASTS[around.contrast_word]).format(it=self._them)
        said.append(f"{self._it} {self._are} {contrast}")
        self._rng.shuffle(said)
        # A thin network is nearly all border: its sharpness cannot be told from its contrast.
        if facts.shape.word != "branching":
            border = self._rng.choice(BORDERS[around.border_word]).format(its=self._its)
            # Where the target has to be named, a sentence about it comes before "its border".
            said.insert(self._rng.randint(int(self._topic != self._it), 2), border)
        return said

    def _place(self, facts: Facts) -> str:
        words = facts.place.words
        if not words:
            return self._rng.choice(("in the centre of the image", "in the middle of the image"))
        noun = self._rng.choice(("part of the image", "region of the image", "area"))
        return f"in the {words} {noun}"

    def _size(self, facts: Facts) -> str:
        share, word = f"about {facts.percent} percent", facts.size_word
        if facts.percent.startswith("less"):
            share = f"{facts.percent} percent"
        return self._rng.choice(
            (
                f"{self._it} {self._are} {word} and {self._cover} {share} of the image",
                f"{self._it} {self._are} {word} with {share} of the image",
                f"with {share} of the image {self._it} {self._are} {word}",
            )
        )

    def _parts(self, facts: Facts) -> str:
        if facts.parts == 1:
            return "" if self._it == "they" else "it is a single region"
        count = NUMBERS[facts.parts] if facts.parts <= COUNTED_PARTS else "many"
        return f"{self._it} {self._are} made of {count} separate regions"

    def _quadrants(self, facts: Facts) -> str:
        shares = facts.place.shares
        if min(shares) >= EVERYWHERE:
            return f"{self._it} {self._cover} parts of all four quadrants"
        if max(shares) >= MOSTLY:
            quadrant = QUADRANTS[shares.index(max(shares))]
            return f"{self._it} {self._lie} mostly in the {quadrant} quadrant"
        return ""


def _listed(parts: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
