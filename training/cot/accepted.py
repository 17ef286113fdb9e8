"""What training reads: the answers that stand at the end of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.modeling.answer import Answer

from .attempts import ATTEMPTS_FILE, by_query, latest, read_attempts, read_reviews, standing


@dataclass(frozen=True)
class AcceptedCot:
    """A query and its answer.

    Attributes:
        reviewed: whether a person accepted or edited it; else the critic accepted it.
    """

    query: str
    targets: tuple[str, ...]
    answer: Answer
    reviewed: bool


def read_accepted(folder: Path, reviewed_only: bool = False) -> dict[str, list[AcceptedCot]]:
    """Accepted answers by record id.

    A person's word on the last round outweighs the critic's; an edited answer replaces the
    generated one.

    The places in these answers are those of the stored image. Training that flips, turns or cuts
    it has to drop an answer that no longer fits: `GroundedCritic.judge` on the changed image and
    masks tells.

    Args:
        folder: `output` of a run of `run.py cot`.
        reviewed_only: leave out what no person has seen.

    Raises:
        Sim4SegError: if there are none in the folder, or a line is broken.
    """
    if not (folder / ATTEMPTS_FILE).is_file():
        raise Sim4SegError(f"no {ATTEMPTS_FILE} in {folder}; make it with run.py cot")
    reviews = by_query(read_reviews(folder))
    accepted: dict[str, list[AcceptedCot]] = {}
    for key, attempt in latest(read_attempts(folder)).items():
        review = standing(attempt, reviews.get(key, []))
        if review is None:
            taken = attempt.verdict.accepted and not reviewed_only
        else:
            taken = review.decision != "reject"
        if taken:
            answer = attempt.answer if review is None else review.answer
            accepted.setdefault(attempt.id, []).append(
                AcceptedCot(attempt.query, attempt.targets, answer, review is not None)
            )
    return accepted
