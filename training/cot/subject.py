"""What is asked of an image, and all that is known for the answer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from Sim4SegCore.modeling.answer import UNKNOWN_DIAGNOSIS
from Sim4SegCore.reasoning.facts import Facts, Mask, grey_levels, measure_facts

from ..records import NORMAL_DIAGNOSES, Record
from ..targets import ABNORMALITIES

PATHOLOGIES = ABNORMALITIES - {"retinal vessels"}
"""Targets whose presence is abnormal, so that a diagnosis can follow from them."""

QueryKind = Literal["finding", "absent", "normal", "multi"]


@dataclass(frozen=True)
class Item:
    """A query about a record: what one chain of thought is written for.

    Attributes:
        targets: asked for, in the order in which the answer speaks of them.
        diagnosis: what the answer must end with; UNKNOWN_DIAGNOSIS if it may name none.
    """

    record: Record
    kind: QueryKind
    query: str
    targets: tuple[str, ...]
    diagnosis: str

    @property
    def key(self) -> tuple[str, str]:
        """Record id and query, which no two items share."""
        return self.record.id, self.query

    @property
    def is_normal(self) -> bool:
        """Whether the diagnosis says that the set's target is not there."""
        return self.diagnosis in NORMAL_DIAGNOSES


@dataclass(frozen=True)
class Subject:
    """An item with its pixels.

    Attributes:
        image: uint8 (H, W) or (H, W, 3).
        masks: bool (H, W) per target that is in the image and whose mask is known.
        labels: every diagnosis of the record's set, to notice a wrong one.
    """

    item: Item
    image: NDArray[np.uint8]
    masks: dict[str, Mask]
    labels: frozenset[str]

    @cached_property
    def facts(self) -> dict[str, Facts]:
        """Facts of every target whose mask is known and not empty."""
        grey = grey_levels(self.image)
        measured = {target: measure_facts(mask, grey) for target, mask in self.masks.items()}
        return {target: facts for target, facts in measured.items() if facts is not None}

    def is_present(self, target: str) -> bool:
        """Whether the target is in the image; an empty mask is no finding."""
        if target in self.masks:
            return target in self.facts
        return self.item.record.is_present(target)

    @property
    def names_no_diagnosis(self) -> bool:
        """Whether the answer has to decline to name one."""
        return self.item.diagnosis == UNKNOWN_DIAGNOSIS
