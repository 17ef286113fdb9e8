"""A run's answers as a list to be reviewed, and the file of decisions."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.modeling.answer import Answer

from ...records import Record
from ..assistants import describe
from ..attempts import (
    ATTEMPTS_FILE,
    REVIEW_FIELDS,
    REVIEWS_FILE,
    Attempt,
    Decision,
    Review,
    by_query,
    latest,
    parse_review,
    read_attempts,
    standing,
)
from ..critic import STEP_NAMES, GroundedCritic, Verdict
from ..journal import Journal
from ..loading import SubjectLoader
from ..picture import COLOURS, overlay, rgb
from ..queries import wanted_diagnosis
from ..subject import Item, Subject


class ReviewStore:
    """What the page shows and what it decides."""

    def __init__(self, folder: Path, records: list[Record], load: SubjectLoader) -> None:
        """Read a run.

        Args:
            folder: `output` of a run.
            records: of its split.

        Raises:
            Sim4SegError: if there is nothing to review, the data is another than the run's, or
                another review is open.
        """
        if not (folder / ATTEMPTS_FILE).is_file():
            raise Sim4SegError(f"no {ATTEMPTS_FILE} in {folder}; make it with run.py cot")
        self._attempts = list(latest(read_attempts(folder)).values())
        self._records = {record.id: record for record in records}
        for attempt in self._attempts:
            if attempt.id not in self._records:
                raise Sim4SegError(
                    f"{folder} speaks of {attempt.id}, which the data does not have; use the "
                    "configuration of the run"
                )
        self._load, self._critic = load, GroundedCritic()
        self._journal = Journal(folder / REVIEWS_FILE, REVIEW_FIELDS)
        lines = self._journal.records
        self._reviews = by_query(parse_review(line, self._journal.path) for line in lines)

    def __len__(self) -> int:
        return len(self._attempts)

    def queue(self) -> list[dict[str, Any]]:
        """One short entry for each answer, in the order of the run."""
        return [
            {
                "id": attempt.id,
                "query": attempt.query,
                "accepted": attempt.verdict.accepted,
                "decision": None
                if (review := self._standing(attempt)) is None
                else review.decision,
            }
            for attempt in self._attempts
        ]

    def detail(self, number: int) -> dict[str, Any]:
        """All that the page shows of one answer."""
        attempt, subject = self._attempts[number], self._subject(number)
        record, review = subject.item.record, self._standing(attempt)
        entry = attempt.to_json()
        entry.update(
            dataset=record.dataset,
            modality=record.modality,
            body_part=record.body_part,
            diagnosis=subject.item.diagnosis,
            targets=_targets(subject),
            original=entry["answer"],
            answer=entry["answer"] if review is None else review.to_json()["answer"],
            review=None if review is None else review.to_json(),
        )
        return entry

    def image(self, number: int) -> NDArray[np.uint8]:
        """The image, (H, W, 3)."""
        return rgb(self._subject(number).image)

    def overlay(self, number: int) -> NDArray[np.uint8]:
        """Its masks as a transparent layer, (H, W, 4)."""
        subject = self._subject(number)
        height, width = subject.image.shape[:2]
        return overlay(subject.masks, (height, width))

    def check(self, number: int, answer: Answer) -> Verdict:
        """What the grounded critic says of an edited answer."""
        return self._critic.judge(self._subject(number), answer)

    def decide(self, number: int, decision: str, answer: Answer, reason: str) -> Review:
        """Write a decision down; it outweighs earlier ones on the same round.

        Args:
            answer: used if edited; what was generated is kept beside it.

        Raises:
            Sim4SegError: for an unknown decision, an edit with an empty step or without a change,
                a rejection without a reason, or a full disk.
        """
        attempt = self._attempts[number]
        taken = _known_decision(decision)
        if taken == "edit":
            empty = [n for n, s in zip(STEP_NAMES, answer.steps, strict=True) if not s.strip()]
            if empty:
                raise Sim4SegError(f"the step '{empty[0]}' is empty")
            if answer == attempt.answer:
                raise Sim4SegError("nothing was changed; accept it instead")
        if taken == "reject" and not reason.strip():
            raise Sim4SegError("a rejection needs a reason, which the next attempt is told")
        review = Review(
            id=attempt.id,
            query=attempt.query,
            round=attempt.round,
            decision=taken,
            original=attempt.answer,
            answer=answer if taken == "edit" else attempt.answer,
            reason=reason.strip(),
            time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )
        self._journal.append(review.to_json())
        self._reviews.setdefault(attempt.key, []).append(review)
        return review

    def close(self) -> None:
        """Let another review open the run."""
        self._journal.close()

    def _standing(self, attempt: Attempt) -> Review | None:
        return standing(attempt, self._reviews.get(attempt.key, []))

    def _subject(self, number: int) -> Subject:
        attempt = self._attempts[number]
        record = self._records[attempt.id]
        diagnosis = wanted_diagnosis(record, attempt.targets)
        return self._load(Item(record, "finding", attempt.query, attempt.targets, diagnosis))


def _known_decision(decision: str) -> Decision:
    for known in get_args(Decision):
        if decision == known:
            taken: Decision = known
            return taken
    raise Sim4SegError(f"unknown decision '{decision}'")


def _targets(subject: Subject) -> list[dict[str, Any]]:
    colours = dict(zip(subject.masks, COLOURS, strict=False))
    return [
        {
            "name": target,
            "present": subject.is_present(target),
            "colour": "#{:02x}{:02x}{:02x}".format(*colours[target]) if target in colours else None,
            "facts": describe(subject.facts[target]).split("; ") if target in subject.facts else [],
        }
        for target in subject.item.targets
    ]
