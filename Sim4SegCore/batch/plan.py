"""What is to be done: every study with every query, and which input and model that means."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..case import ModelIdentity
from ..errors import Sim4SegError
from ..io import quoted
from .asking import USUAL, Asking
from .files import replace_text
from .layout import RESULTS_FOLDER
from .naming import folder_name
from .parts import Part
from .queries import NamedQuery, QueryRule
from .studies import Study

_DETACHED = (".mhd", ".nhdr")
Key = tuple[str, str]


@dataclass(frozen=True)
class Task:
    """One query about one study.

    Attributes:
        input: identity of what is looked at and how, see `identify_input`.
        folder: where the result goes, relative to the output folder, with forward slashes.
    """

    study: str
    image: str
    query_name: str
    query: str
    input: str
    folder: str

    @property
    def key(self) -> Key:
        """Unique in a cohort."""
        return self.study, self.query_name


@dataclass(frozen=True)
class Job:
    """A study and all that is asked about it, so that it is read and encoded once."""

    study: Study
    tasks: tuple[Task, ...]
    asking: Asking = USUAL


@dataclass(frozen=True)
class Plan:
    """A part's tasks.

    Attributes:
        cohort: digest of all parts' studies and queries and of how they are asked; parts that
            differ in it must not be joined.
        model: name of the model, for captions.
        model_sha256: identity of its weights.
    """

    cohort: str
    model: str
    model_sha256: str
    tasks: tuple[Task, ...]

    def save(self, path: Path) -> None:
        """Write as JSON, completely or not at all.

        Raises:
            Sim4SegError: if it cannot be written.
        """
        replace_text(path, json.dumps(dataclasses.asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Read what `save` wrote.

        Raises:
            Sim4SegError: if the file is missing or damaged.
        """
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            tasks = tuple(Task(**task) for task in values.pop("tasks"))
            return cls(**values, tasks=tasks)
        except (OSError, ValueError, TypeError, KeyError):
            raise Sim4SegError(
                f"cannot read {quoted(path)}; run the batch again to write it anew"
            ) from None


def make_plan(
    studies: Sequence[Study],
    rules: Sequence[QueryRule],
    model: ModelIdentity,
    part: Part,
    asking: Asking,
) -> tuple[Plan, list[Job]]:
    """Put studies and queries together.

    Args:
        studies: the whole cohort.
        rules: asked about every study that has no query of its own.

    Returns:
        The part's plan, and its studies that are asked anything, both in the cohort's order.

    Raises:
        Sim4SegError: if nothing is asked at all, or one study twice under one name.
    """
    asked = [(study, _queries_for(study, rules)) for study in studies]
    if not any(queries for _, queries in asked):
        raise Sim4SegError("no query is meant for any study; use --query or --queries")
    keys = [[study.id, query.name, query.text] for study, queries in asked for query in queries]
    digest = hashlib.sha256(json.dumps([keys, model.sha256, *asking.difference]).encode())
    jobs = [
        _job(study, queries, asking) for study, queries in asked if queries and part.holds(study.id)
    ]
    tasks = tuple(task for job in jobs for task in job.tasks)
    return Plan(digest.hexdigest(), model.name, model.sha256, tasks), jobs


def identify_input(study: Study, asking: Asking) -> str:
    """A digest that changes with path, size, modification time or slice of a study's files, and
    with what is looked at in them.

    It also stands for a file that is missing, so that one that turns up later is new.
    """
    stamps = []
    for path in study.files or _files_of(study.source):
        try:
            status = path.stat()
            stamps.append([path.name, status.st_size, status.st_mtime_ns])
        except (OSError, ValueError):
            stamps.append([path.name, None, None])
    text = json.dumps([study.image, study.slice_index, stamps, *asking.difference])
    return hashlib.sha256(text.encode()).hexdigest()


def _files_of(source: Path) -> list[Path]:
    """The file; with a detached header its pixels too; all files of a folder."""
    try:
        if source.is_dir():
            return sorted(path for path in source.iterdir() if path.is_file())
        if source.suffix.lower() in _DETACHED:
            return sorted(path for path in source.parent.iterdir() if path.stem == source.stem)
    except (OSError, ValueError):
        pass
    return [source]


def _queries_for(study: Study, rules: Sequence[QueryRule]) -> tuple[NamedQuery, ...]:
    queries = study.queries or tuple(rule.query for rule in rules if rule.applies_to(study.image))
    names = [query.name for query in queries]
    for name in names:
        if names.count(name) > 1:
            raise Sim4SegError(
                f"the study '{study.id}' would be asked two queries named '{name}'; "
                "give them different names or patterns"
            )
    return queries


def _job(study: Study, queries: Sequence[NamedQuery], asking: Asking) -> Job:
    identity, home = identify_input(study, asking), f"{RESULTS_FOLDER}/{folder_name(study.id)}"
    tasks = [
        Task(
            study=study.id,
            image=study.image,
            query_name=query.name,
            query=query.text,
            input=identity,
            folder=f"{home}/{folder_name(query.name)}",
        )
        for query in queries
    ]
    return Job(study, tuple(tasks), asking)
