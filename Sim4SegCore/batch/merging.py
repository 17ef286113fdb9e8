"""The parts of a cohort become one table, the same as that of an undivided batch."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from ..errors import Sim4SegError
from ..io import quoted
from .finishing import Summary, finish
from .layout import Layout, locked, parts_in
from .manifest import Outcome, load_outcomes
from .parts import Part
from .plan import Key, Plan, Task


def merge_parts(out: Path) -> Summary:
    """Join all parts in an output folder.

    Raises:
        Sim4SegError: if a part is missing, running, unfinished or of another cohort.
    """
    parts = [part for part in parts_in(out) if not part.is_whole]
    if not parts:
        raise Sim4SegError(f"{quoted(out)} holds no parts of a batch")
    count = parts[0].count
    missing = sorted(set(range(count)) - {part.index for part in parts})
    if missing or any(part.count != count for part in parts):
        raise Sim4SegError(
            f"of {count} parts, part {missing[0] if missing else count} was never started "
            f"in {quoted(out)}; run it first"
        )
    tasks: list[Task] = []
    outcomes: dict[Key, Outcome] = {}
    with ExitStack() as locks:
        plans = []
        for part in parts:
            layout = Layout(out, part)
            locks.enter_context(locked(layout))
            plan = Plan.load(layout.plan)
            outcomes |= _outcomes(layout, plan)
            plans.append(plan)
            tasks += plan.tasks
        whole = plans[0]
        if any(plan.cohort != whole.cohort for plan in plans):
            raise Sim4SegError(
                f"the parts in {quoted(out)} are not of the same studies, queries and model; "
                "run them again with the same options"
            )
        joined = Plan(whole.cohort, whole.model, whole.model_sha256, tuple(tasks))
        return finish(Layout(out, Part()), joined, outcomes, already_done=len(tasks))


def _outcomes(layout: Layout, plan: Plan) -> dict[Key, Outcome]:
    known = load_outcomes(layout.manifest)
    outcomes = {
        task.key: known[task.key]
        for task in plan.tasks
        if task.key in known and known[task.key].is_of(task, plan.model_sha256)
    }
    left = len(plan.tasks) - len(outcomes)
    if left:
        raise Sim4SegError(
            f"part {layout.part.index} has {left} of {len(plan.tasks)} queries left; "
            "run it again, then merge"
        )
    return outcomes
