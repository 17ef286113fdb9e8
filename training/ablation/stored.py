"""Answers of a finished variant on disk, so that nothing is asked twice."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from Sim4SegCore.errors import Sim4SegError

from ..evaluation import Row
from ..evaluation.overlap import Overlap


@dataclass(frozen=True)
class Answers:
    """A variant's rows and the presence threshold under which users get its masks."""

    rows: tuple[Row, ...]
    threshold: float


def write_answers(path: Path, answers: Answers) -> None:
    """Write completely or not at all: that the file is there says that the variant is done."""
    temporary = path.with_suffix(".partial")
    temporary.write_text(json.dumps(dataclasses.asdict(answers)), encoding="utf-8")
    temporary.replace(path)


def read_answers(path: Path) -> Answers:
    """What `write_answers` wrote.

    Raises:
        Sim4SegError: if the file is damaged or from another version.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        rows = tuple(_row(fields) for fields in values["rows"])
        return Answers(rows, values["threshold"])
    except (ValueError, KeyError, TypeError):
        raise Sim4SegError(f"{path} is damaged; delete it and resume") from None


def _row(fields: dict[str, Any]) -> Row:
    overlap = fields["overlap"]
    return Row(**(fields | {"overlap": None if overlap is None else Overlap(**overlap)}))


def check_paired(ours: Sequence[Row], theirs: Sequence[Row]) -> None:
    """Refuse to compare answers to different questions.

    Raises:
        Sim4SegError: if the split changed between two variants.
    """
    if [(r.id, r.target) for r in ours] != [(r.id, r.target) for r in theirs]:
        raise Sim4SegError(
            "variants were evaluated on different questions: the split changed in between; "
            "choose another output and start again"
        )
