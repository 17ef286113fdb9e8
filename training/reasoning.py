"""Chains of thought that were written and accepted before training, told of what a view shows."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .config import ReasoningConfig
from .cot.accepted import AcceptedCot, read_accepted
from .cot.critic import GroundedCritic
from .cot.subject import Item, Subject
from .records import Record
from .text import TaughtAnswer


class WrittenReasoning:
    """Gives a record's accepted answers to training, as long as they are true of the view.

    A flip swaps left and right, a crop changes size and place: the grounded critic judges each
    answer again on the pixels that the language model sees, and what it rejects is not taught.
    """

    def __init__(
        self,
        accepted: Mapping[str, Sequence[AcceptedCot]],
        records: Iterable[Record],
        share: float,
    ) -> None:
        """
        Args:
            accepted: answers by record id, of one target each or more; only the former are used.
            records: of the training split.
            share: of the samples that take one, where there is one.
        """
        self._accepted = accepted
        self._share = share
        self._critic = GroundedCritic()
        self._labels: dict[str, set[str]] = defaultdict(set)
        for record in records:
            if record.diagnosis is not None:
                self._labels[record.dataset].add(record.diagnosis)

    @classmethod
    def read(cls, config: ReasoningConfig, records: Sequence[Record]) -> WrittenReasoning | None:
        """From the folder that the configuration names; None if it names none.

        Raises:
            Sim4SegError: if there are no accepted answers in the folder.
        """
        if config.folder is None:
            return None
        accepted = read_accepted(Path(config.folder), config.reviewed_only)
        return cls(accepted, records, config.share)

    def find(
        self,
        record: Record,
        target: str,
        diagnosis: str,
        image: NDArray[np.uint8],
        mask: NDArray[np.bool_] | None,
        rng: random.Random,
    ) -> tuple[str, TaughtAnswer] | None:
        """A query and an answer that hold for a view.

        Args:
            diagnosis: that the answer has to end with.
            image: (H, W, 3) of the view.
            mask: (H, W) of the target in it; None if it is not known.

        Returns:
            None if there is none, or chance decides for the plain writer.
        """
        known = [c for c in self._accepted.get(record.id, ()) if c.targets == (target,)]
        if not known or rng.random() >= self._share:
            return None
        chosen = rng.choice(known)
        item = Item(record, "finding", chosen.query, (target,), diagnosis)
        masks = {} if mask is None else {target: mask}
        subject = Subject(item, image, masks, frozenset(self._labels[record.dataset]))
        verdict = self._critic.judge(subject, chosen.answer)
        if not verdict.accepted:
            return None
        checked = not verdict.unchecked
        return chosen.query, TaughtAnswer(chosen.answer, (True, checked, checked, True))
