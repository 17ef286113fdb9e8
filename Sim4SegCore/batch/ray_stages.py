"""The stages of a batch on Ray, as they run on the machines of a cluster.

read → answer → write: what goes from one to the next is pickled by ourselves, so that Ray Data
sees nothing but bytes. None of them raises; what must end the batch travels to the driver.

Ray does again, for ever, what its process did not survive. A study that no process survives would
end no batch, so each stage first leaves a mark beside the study's results and counts them.
"""

from __future__ import annotations

import contextlib
import pickle
import uuid
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..case import ModelIdentity
from ..errors import Sim4SegError
from .answering import Answer, Predictor, answers
from .failures import unexpected
from .manifest import Outcome
from .placing import hidden_folder
from .plan import Job, Task
from .reading import Read, read_study
from .saving import LocalSaver

Row = dict[str, Any]
JOB, READ, ANSWERS, WRITTEN = "job", "read", "answers", "written"
TRIES = 3
TRIES_FOLDER = ".tries"
LOST = (
    "the process that worked on it ended several times, perhaps for lack of memory; crop or "
    "downsample the image"
)


@dataclass(frozen=True)
class ModelChoice:
    """Which model answers, and how a machine of the cluster gets it.

    Attributes:
        load: from source and device; must be importable on every machine.
        source: checkpoint folder or hub id; None is the embedded checkpoint.
        identity: what the loaded model must be.
    """

    load: Callable[[str | None, str], Predictor]
    source: str | None
    device: str
    identity: ModelIdentity


@dataclass(frozen=True)
class Refusal:
    """Why the batch cannot go on, in one sentence."""

    reason: str


@dataclass(frozen=True)
class Written:
    """A task whose result lies in a hidden folder, or that failed.

    Attributes:
        folder: the hidden folder; None if the task failed.
    """

    task: Task
    outcome: Outcome
    folder: Path | None


def read_row(row: Row, out: Path) -> Row:
    """`job` to `read`."""
    warnings.simplefilter("ignore")
    job: Job = pickle.loads(row[JOB])
    may_try = _may_try(out, job.tasks[0], READ)
    read = read_study(job) if may_try else Read(job, None, LOST, 0, 0.0)
    return {READ: pickle.dumps(read, protocol=5)}


class AnswerRows:
    """`read` to `answers`; keeps a model loaded."""

    def __init__(self, choice: ModelChoice, out: Path) -> None:
        warnings.simplefilter("ignore")
        self._out = out
        self._predictor, self._refusal = _load(choice)

    def __call__(self, row: Row) -> Row:
        found: list[Answer] | Refusal = Refusal(self._refusal)
        if self._predictor is not None:
            read: Read = pickle.loads(row[READ])
            if _may_try(self._out, read.job.tasks[0], ANSWERS):
                found = list(answers(self._predictor, read))
            else:
                found = [Answer(task, None, LOST, 0.0) for task in read.job.tasks]
        return {ANSWERS: pickle.dumps(found, protocol=5)}


def _load(choice: ModelChoice) -> tuple[Predictor | None, str]:
    """The predictor, or the reason why there is none: Ray would start a failing actor for ever."""
    try:
        predictor = choice.load(choice.source, choice.device)
    except Sim4SegError as error:
        return None, f"a machine of the Ray cluster cannot load the model: {error}"
    except Exception as error:
        return None, f"a machine of the Ray cluster cannot load the model: {unexpected(error)}"
    if predictor.identity.sha256 != choice.identity.sha256:
        return None, "a machine of the Ray cluster has other weights; copy the same model to all"
    return predictor, ""


def write_row(row: Row, out: Path, model_sha256: str) -> Row:
    """`answers` to `written`."""
    warnings.simplefilter("ignore")
    found: list[Answer] | Refusal = pickle.loads(row[ANSWERS])
    written: list[Written | Refusal] = (
        [found]
        if isinstance(found, Refusal)
        else [_write(answer, out, model_sha256) for answer in found]
    )
    return {WRITTEN: pickle.dumps(written, protocol=5)}


def _write(answer: Answer, out: Path, model_sha256: str) -> Written | Refusal:
    if answer.result is None:
        return Written(answer.task, answer.outcome(model_sha256), None)
    if not _may_try(out, answer.task, f"{WRITTEN}-{Path(answer.task.folder).name}"):
        return Written(answer.task, answer.outcome(model_sha256, LOST), None)
    folder = hidden_folder(out / answer.task.folder)
    problem = LocalSaver().save(answer.result, folder)
    if problem is None:
        return Written(answer.task, answer.outcome(model_sha256), folder)
    if problem.ends_batch:
        return Refusal(problem.reason)
    return Written(answer.task, answer.outcome(model_sha256, problem.reason), None)


def _may_try(out: Path, task: Task, stage: str) -> bool:
    """Whether a stage has not been begun too often for a study; counts this time."""
    folder = (out / task.folder).parent / TRIES_FOLDER
    # Where nothing can be written, the last stage says so.
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{stage}.{uuid.uuid4().hex}").touch()
        return sum(path.name.startswith(f"{stage}.") for path in folder.iterdir()) <= TRIES
    return True
