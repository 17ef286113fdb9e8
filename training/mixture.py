"""The mixture that training draws its questions from: records by what they are asked for."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from .config import SamplingConfig
from .records import Record, annotated_targets, known_targets
from .targets import strangers_to

Group = tuple[tuple[str, str, str], list[Record]]
"""(set, target, state) and the records that are asked for the target in that state."""


@dataclass(frozen=True)
class Asked:
    """One question.

    Attributes:
        mismatched: the target belongs to another organ, there is nothing to find.
    """

    record: Record
    target: str
    mismatched: bool


class Mixture:
    """Draws questions, each group as often as the sampling configuration says."""

    def __init__(
        self,
        sampling: SamplingConfig,
        groups: Sequence[Group],
        answerable: Collection[str] | None = None,
    ) -> None:
        """
        Args:
            answerable: other organs' targets that may be asked for; None is all of them.
        """
        self.sampling = sampling
        self.groups = groups
        self.answerable = answerable

    def weights(self, step: int) -> list[float]:
        """How often each group is drawn at a step, up to a factor."""
        sampling = self.sampling
        stage = next((s for s in sampling.stages if step < s.until), None)
        factors = sampling.set_weights if stage is None else stage.set_weights
        return [
            min(1.0, len(members) / sampling.balance_count) ** sampling.balance_power
            * _factor(factors, *key)
            for key, members in self.groups
        ]

    def draw(self, weights: Sequence[float], rng: random.Random) -> Asked:
        """One question; the same randomness gives the same one.

        Args:
            weights: of this step.
        """
        (_, target, _), members = rng.choices(self.groups, weights)[0]
        record = rng.choice(members)
        if rng.random() < self.sampling.mismatched and (
            strangers := self._strangers(record.body_part)
        ):
            return Asked(record, rng.choice(strangers), True)
        return Asked(record, target, False)

    def _strangers(self, body_part: str) -> list[str]:
        known = strangers_to(body_part)
        return known if self.answerable is None else [t for t in known if t in self.answerable]


def _factor(factors: Mapping[str, float], dataset: str, target: str, state: str) -> float:
    """The most specific one that is named."""
    names = (f"{dataset}/{target}/{state}", f"{dataset}/{target}", dataset)
    return next((factors[name] for name in names if name in factors), 1.0)


def group_records(records: Sequence[Record]) -> list[Group]:
    """Records by (set, target, state); what a set never asks for is left out.

    State is present or absent, or the diagnosis where nobody drew masks.
    """
    annotated = annotated_targets(records)
    groups: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
    for record in records:
        if record.masks is None or record.is_drawn:
            groups[record.dataset, record.asked, str(record.diagnosis)].append(record)
            continue
        for target in sorted(known_targets(record, annotated[record.dataset])):
            state = "present" if target in record.masks else "absent"
            groups[record.dataset, target, state].append(record)
    return sorted(groups.items())
