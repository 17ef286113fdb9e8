"""One part from plan to contact sheet: what is left is done, then everything is summed up."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..output import RESULT_FILE
from .asking import USUAL, Asking
from .contact_sheet import write_pages
from .engine import Engine
from .layout import Layout
from .manifest import DONE, FAILED, Manifest, Outcome
from .plan import Job, Key, Plan, Task, make_plan
from .progress import Progress
from .queries import QueryRule
from .studies import Study
from .table import rows, write_csv, write_parquet, write_timings

NO_PYARROW = "results.parquet needs pyarrow: pip install 'sim4seg[batch]'"


@dataclass(frozen=True)
class Summary:
    """A finished batch in numbers.

    Attributes:
        tasks: queries about studies; `done` of them are answered, `already_done` by an
            earlier run.
        failures: (id, name of the query, reason).
    """

    studies: int
    tasks: int
    done: int
    already_done: int
    failures: tuple[tuple[str, str, str], ...]
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            **dataclasses.asdict(self),
            "failures": [
                {"id": study, "query_name": name, "reason": reason}
                for study, name, reason in self.failures
            ],
            "files": [str(path) for path in self.files],
        }


def run_part(
    layout: Layout,
    studies: Sequence[Study],
    rules: Sequence[QueryRule],
    engine: Engine,
    start_anew: bool,
    retry_failed: bool,
    say: Callable[[str], None],
    asking: Asking = USUAL,
) -> Summary:
    """Do what is left of a part and write its table and contact sheet.

    Args:
        layout: prepared, its lock held.
        studies: the whole cohort.
        start_anew: forget what earlier runs did.

    Raises:
        Sim4SegError: if queries do not fit the studies, or results cannot be written.
    """
    plan, jobs = make_plan(studies, rules, engine.identity, layout.part, asking)
    if start_anew:
        layout.manifest.unlink(missing_ok=True)
    with Manifest(layout.manifest) as manifest:
        pending = [
            task
            for task in plan.tasks
            if not _is_settled(layout, plan, task, manifest.outcomes.get(task.key), retry_failed)
        ]
        if pending:
            # An old table beside new results would be believed.
            for path in layout.finished_files():
                path.unlink(missing_ok=True)
        plan.save(layout.plan)
        progress = Progress(len(pending), say)
        engine.run(
            _left(jobs, {task.key for task in pending}),
            layout.out,
            manifest,
            progress=lambda outcome: progress.count(failed=outcome.status == FAILED),
        )
        already_done = len(plan.tasks) - len(pending)
        unasked = len(studies) - len({s.id for s in studies if _is_asked(s, rules)})
        notes = [f"no query is meant for {unasked} of the studies"] if unasked else []
        return finish(layout, plan, manifest.outcomes, already_done, notes)


def finish(
    layout: Layout,
    plan: Plan,
    outcomes: Mapping[Key, Outcome],
    already_done: int,
    notes: Sequence[str] = (),
) -> Summary:
    """Write table, timings and contact sheet of a plan whose tasks all have an outcome.

    Raises:
        Sim4SegError: if they cannot be written.
    """
    table = rows(plan.tasks, outcomes)
    written = [layout.table(".csv"), layout.timings]
    write_csv(table, written[0])
    write_timings(plan.tasks, outcomes, written[1])
    has_parquet = write_parquet(table, layout.table(".parquet"))
    if has_parquet:
        written.insert(1, layout.table(".parquet"))
    pages = write_pages(table, layout, plan.model)
    failures = [row for row in table if row["status"] == FAILED]
    return Summary(
        studies=len({task.study for task in plan.tasks}),
        tasks=len(table),
        done=len(table) - len(failures),
        already_done=already_done,
        failures=tuple((row["id"], row["query_name"], row["reason"]) for row in failures),
        files=(*written, *pages),
        notes=tuple(notes) if has_parquet else (*notes, NO_PYARROW),
    )


def _is_settled(
    layout: Layout, plan: Plan, task: Task, outcome: Outcome | None, retry_failed: bool
) -> bool:
    if outcome is None or not outcome.is_of(task, plan.model_sha256):
        return False
    if outcome.status == DONE:
        return (layout.out / task.folder / RESULT_FILE).is_file()
    return not retry_failed


def _left(jobs: Sequence[Job], pending: set[Key]) -> list[Job]:
    left = [
        dataclasses.replace(job, tasks=tuple(task for task in job.tasks if task.key in pending))
        for job in jobs
    ]
    return [job for job in left if job.tasks]


def _is_asked(study: Study, rules: Sequence[QueryRule]) -> bool:
    return bool(study.queries) or any(rule.applies_to(study.image) for rule in rules)
