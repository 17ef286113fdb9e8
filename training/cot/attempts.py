"""The two files of a run: attempts at answers, and what people said of them.

Both are append-only. `cots.jsonl` has a line for every round of every query, `reviews.jsonl` one
for every decision; the last line on a query is the one that holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.modeling.answer import Answer

from .critic import STEP_NAMES, Verdict
from .journal import read_journal

ATTEMPTS_FILE, REVIEWS_FILE = "cots.jsonl", "reviews.jsonl"
ATTEMPT_FIELDS = ("id", "query", "kind", "targets", "answer", "generator", "critic", "round")
REVIEW_FIELDS = ("id", "query", "round", "decision", "original", "answer", "reason", "time")

Decision = Literal["accept", "edit", "reject"]
Key = tuple[str, str]


@dataclass(frozen=True)
class Attempt:
    """One round of one query.

    Attributes:
        id: of the record.
        round: counts from 1 over the whole life of the query.
    """

    id: str
    query: str
    kind: str
    targets: tuple[str, ...]
    answer: Answer
    generator: str
    verdict: Verdict
    round: int

    @property
    def key(self) -> Key:
        """Record id and query."""
        return self.id, self.query

    def to_json(self) -> dict[str, Any]:
        """A line of the file."""
        verdict = self.verdict
        return {
            "id": self.id,
            "query": self.query,
            "kind": self.kind,
            "targets": list(self.targets),
            "answer": _steps(self.answer),
            "generator": self.generator,
            "critic": {
                "name": verdict.critic,
                "accepted": verdict.accepted,
                "reasons": list(verdict.reasons),
                "unchecked": list(verdict.unchecked),
            },
            "round": self.round,
        }


@dataclass(frozen=True)
class Review:
    """What a person decided.

    Attributes:
        round: of the attempt that was looked at.
        original: the answer as it was generated.
        answer: what holds now; the same unless edited.
        reason: why it was rejected, else possibly empty.
        time: UTC, ISO 8601.
    """

    id: str
    query: str
    round: int
    decision: Decision
    original: Answer
    answer: Answer
    reason: str
    time: str

    @property
    def key(self) -> Key:
        """Record id and query."""
        return self.id, self.query

    def to_json(self) -> dict[str, Any]:
        """A line of the file."""
        answers = {"original": _steps(self.original), "answer": _steps(self.answer)}
        return asdict(self) | answers


def read_attempts(folder: Path) -> list[Attempt]:
    """All attempts of a run, in the order in which they were made.

    Raises:
        Sim4SegError: for a line that is no attempt.
    """
    path = folder / ATTEMPTS_FILE
    return [parse_attempt(line, path) for line in read_journal(path, ATTEMPT_FIELDS)]


def read_reviews(folder: Path) -> list[Review]:
    """All decisions of a run, in the order in which they were made.

    Raises:
        Sim4SegError: for a line that is no decision.
    """
    path = folder / REVIEWS_FILE
    return [parse_review(line, path) for line in read_journal(path, REVIEW_FIELDS)]


def parse_attempt(line: dict[str, Any], path: Path) -> Attempt:
    """From a line of the file, named in errors."""
    try:
        critic = line["critic"]
        reasons, unchecked = tuple(critic["reasons"]), tuple(critic["unchecked"])
        return Attempt(
            id=str(line["id"]),
            query=str(line["query"]),
            kind=str(line["kind"]),
            targets=tuple(line["targets"]),
            answer=Answer(**line["answer"]),
            generator=str(line["generator"]),
            verdict=Verdict(str(critic["name"]), reasons, unchecked),
            round=int(line["round"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Sim4SegError(f"{path}: the entry of {line['id']} is broken: {error}") from None


def parse_review(line: dict[str, Any], path: Path) -> Review:
    """From a line of the file, named in errors."""
    try:
        decision = line["decision"]
        if decision not in get_args(Decision):
            raise ValueError(f"unknown decision '{decision}'")
        return Review(
            id=str(line["id"]),
            query=str(line["query"]),
            round=int(line["round"]),
            decision=decision,
            original=Answer(**line["original"]),
            answer=Answer(**line["answer"]),
            reason=str(line["reason"]),
            time=str(line["time"]),
        )
    except (TypeError, ValueError) as error:
        raise Sim4SegError(f"{path}: the entry of {line['id']} is broken: {error}") from None


def latest(attempts: Iterable[Attempt]) -> dict[Key, Attempt]:
    """The last attempt at each query, in the order of the first ones."""
    return {attempt.key: attempt for attempt in attempts}


def by_query(reviews: Iterable[Review]) -> dict[Key, list[Review]]:
    """Decisions on each query, oldest first."""
    grouped: dict[Key, list[Review]] = defaultdict(list)
    for review in reviews:
        grouped[review.key].append(review)
    return dict(grouped)


def standing(attempt: Attempt, reviews: list[Review]) -> Review | None:
    """The decision that holds for an attempt; None if nobody has looked at this round."""
    return next((r for r in reversed(reviews) if r.round == attempt.round), None)


def _steps(answer: Answer) -> dict[str, str]:
    return dict(zip(STEP_NAMES, answer.steps, strict=True))
