"""A result is written under a hidden name beside its place, then moved there.

Whoever holds the part's lock moves it; what is hidden is worth nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from pathlib import Path

from .files import remove_folder, replace_folder
from .plan import Task
from .saving import Problem, problem_of


def hidden_folder(target: Path) -> Path:
    """A folder that does not exist yet, in a hidden one of its own beside the target.

    Of the same name, since reasons quote it and must be the same in every run.
    """
    return target.parent / f".{uuid.uuid4().hex}" / target.name


def put_in_place(target: Path, new: Path) -> Problem | None:
    """Move a filled hidden folder to its place; None if that went well."""
    try:
        replace_folder(target, new)
    except OSError as error:
        return problem_of(error, target)
    finally:
        remove_folder(new.parent)
    return None


def remove_leftovers(out: Path, tasks: Iterable[Task]) -> None:
    """What was left half written beside studies' results when nobody is writing there."""
    for home in {(out / task.folder).parent for task in tasks}:
        if home.is_dir():
            for leftover in home.glob(".*"):
                remove_folder(leftover)
