"""How many answers and masks a query gets, and how probabilities are read. Knows no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from .errors import Sim4SegError

MAX_SAMPLES = 64
MAX_MASKS = 8
SMALLEST_TEMPERATURE = 0.05
ENOUGH = 10
MaskChoice = Literal["consensus", "estimated IoU", "agreement", "text"]
MASK_CHOICES: tuple[str, ...] = get_args(MaskChoice)


@dataclass(frozen=True)
class ScalingConfig:
    """How many answers and masks a query gets, and how they are combined.

    Attributes:
        samples: answers (m), the greedy one among them; 1 samples none.
        masks: masks (n); fewer where there is no other way of drawing the target.
        choice: of the mask: `consensus` averages the logits, the others choose one: with the
            highest IoU that SAM's decoder expects, with the highest mean Dice with the others, or
            with the fewest statements of the reasoning against it.
        temperature: of the words; the diagnosis has a calibrated one of its own.
        seed: of the words.
        stop_early: draw no further answers once they cannot change the vote.

    Raises:
        Sim4SegError: if a value is out of range.
    """

    samples: int = 1
    masks: int = 1
    choice: MaskChoice = "consensus"
    temperature: float = 0.8
    seed: int = 0
    stop_early: bool = True

    def __post_init__(self) -> None:
        for name, limit in (("samples", MAX_SAMPLES), ("masks", MAX_MASKS)):
            value = getattr(self, name)
            if not isinstance(value, int) or not 1 <= value <= limit:
                raise Sim4SegError(f"{name} is {value}; give a whole number from 1 to {limit}")
        if not isinstance(self.seed, int):
            raise Sim4SegError(f"seed is {self.seed}; give a whole number")
        if self.choice not in MASK_CHOICES:
            raise Sim4SegError(
                f"{self.choice} is no way to choose a mask; give one of " + ", ".join(MASK_CHOICES)
            )
        if not self.temperature >= SMALLEST_TEMPERATURE:
            raise Sim4SegError(
                f"temperature is {self.temperature}; give at least {SMALLEST_TEMPERATURE}"
            )

    def asked(self, values: Mapping[str, Any]) -> ScalingConfig | None:
        """These settings with what somebody asks for on top; None if that is nothing.

        Args:
            values: by field; None is not asked for.

        Raises:
            Sim4SegError: if a value is out of range.
        """
        given = {name: value for name, value in values.items() if value is not None}
        return replace(self, **given) if given else None


@dataclass(frozen=True)
class Calibration:
    """Makes probabilities mean what they say; found on held-out images by `run.py export`.

    Attributes:
        diagnosis_temperature: the logarithms of a diagnosis' probabilities are divided by it.
        mask_temperature: the logits of a mask's pixels are divided by it, for its confidence.
        abstain_below: a less likely diagnosis is called uncertain.
        presence_shifts: by target, added to the logit of its presence in an image, so that one
            threshold suits targets that are told from nothing well, and those that are not.
        diagnoses_checked: by target, on how many held-out images its diagnosis was checked;
            empty where nobody counted.
    """

    diagnosis_temperature: float = 1.0
    mask_temperature: float = 1.0
    abstain_below: float = 0.0
    presence_shifts: Mapping[str, float] = field(default_factory=dict)
    diagnoses_checked: Mapping[str, int] = field(default_factory=dict)

    def presence(self, logit: float, target: str) -> float:
        """Probability that a target is in an image."""
        return 1 / (1 + math.exp(-logit - self.presence_shifts.get(target, 0.0)))

    def believed(self, probabilities: Mapping[str, float], target: str) -> dict[str, float]:
        """A target's diagnoses with as much certainty as the images allow that it was checked on.

        ENOUGH images leave the probabilities as they are; with fewer they are mixed with even
        chances, and without any hardly more than those is left, however sure the model is.
        """
        if not self.diagnoses_checked:
            return dict(probabilities)
        trust = min(1.0, (self.diagnoses_checked.get(target, 0) + 0.5) / ENOUGH)
        even = (1 - trust) / len(probabilities)
        return {label: trust * value + even for label, value in probabilities.items()}
