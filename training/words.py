"""The words of a sample: a query, an answer, and what of it is taught."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.modeling.lvlm import LVLM

from . import text
from .config import TrainingConfig
from .reasoning import WrittenReasoning
from .records import Record
from .views import Pixels


@dataclass(frozen=True)
class Question:
    """What is asked, and what is true in the view.

    Attributes:
        mismatched: the target belongs to another organ.
        diagnosis: that the answer ends with; None if it is not known.
    """

    record: Record
    target: str
    mismatched: bool
    present: bool
    diagnosis: str | None


class WordMaker:
    """Makes words; the same randomness gives the same words."""

    def __init__(
        self,
        config: TrainingConfig,
        lvlm: LVLM,
        varied: bool = True,
        reasoning: WrittenReasoning | None = None,
    ) -> None:
        """
        Args:
            varied: draw a phrasing of the query; else take the one that evaluation uses.
            reasoning: answers written before.
        """
        self._config = config
        self._lvlm = lvlm
        self._varied = varied
        self._reasoning = reasoning

    def make(
        self,
        question: Question,
        image: Pixels,
        mask: NDArray[np.bool_] | None,
        rng: random.Random,
    ) -> tuple[list[int], list[float]]:
        """Token ids of query and answer, and the weight of predicting each.

        Args:
            image: what the LVLM sees, without padding.
            mask: of the same pixels; None if it is not known.

        Raises:
            Sim4SegError: if they are longer than the configuration allows.
        """
        query, taught = self._written(question, image, mask, rng) or self._plain(
            question, image, mask, rng
        )
        if not self._config.model.chain_of_thought:
            taught = taught.without_reasoning()
        if self._config.model.seg_after_reasoning:
            taught = taught.with_seg_after_reasoning()
        ids = self._lvlm.query_ids(query)
        weights = [0.0] * len(ids)
        for index, (piece, supervised) in enumerate(taught.segments):
            tokens = self._lvlm.encode(piece)
            last = index == len(taught.segments) - 1
            weight = self._config.loss.diagnosis_tokens if last else 1.0
            ids += tokens
            weights += [weight if supervised else 0.0] * len(tokens)
        if len(ids) > self._config.max_text_tokens:
            raise Sim4SegError(
                f"query and answer of {question.record.id} take {len(ids)} tokens; "
                f"max_text_tokens is {self._config.max_text_tokens}"
            )
        return ids, weights

    def _written(
        self,
        question: Question,
        image: Pixels,
        mask: NDArray[np.bool_] | None,
        rng: random.Random,
    ) -> tuple[str, text.TaughtAnswer] | None:
        """Query and answer that were written before; None without any that fits."""
        if self._reasoning is None or question.mismatched or question.diagnosis is None:
            return None
        return self._reasoning.find(
            question.record, question.target, question.diagnosis, image, mask, rng
        )

    def _plain(
        self,
        question: Question,
        image: Pixels,
        mask: NDArray[np.bool_] | None,
        rng: random.Random,
    ) -> tuple[str, text.TaughtAnswer]:
        """Query and answer in plain words."""
        record, target = question.record, question.target
        query = text.canonical_query(target, record.dataset)
        if self._varied:
            dataset = None if question.mismatched else record.dataset
            query = text.random_query(target, dataset, record.modality, rng)
        facts = None
        if question.present and mask is not None and mask.any():
            facts = text.measure_facts(mask, image.mean(-1, dtype=np.float32))
        taught = text.write_answer(
            target,
            question.present,
            facts,
            record.modality,
            record.body_part,
            question.diagnosis,
            rng,
        )
        return query, taught
