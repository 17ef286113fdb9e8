"""The table of results: a row for each study and query, the same however often it was killed.

Seconds differ from run to run and stand in a file of their own.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..case import Result
from ..measurements import measure
from ..output import result_to_dict, rounded
from ..volume import VolumeResult
from ..volume.output import volume_result_to_dict
from .asking import SLICE
from .files import replace_file, replace_text
from .manifest import DONE, Outcome
from .plan import Key, Task

_TEXT, _NUMBER, _FLAG = "text", "number", "flag"
ANSWER_COLUMNS = {
    "diagnosis": _TEXT,
    "confidence": _NUMBER,
    "alternatives": _TEXT,
    "finding": _TEXT,
    "present": _FLAG,
    "presence_confidence": _NUMBER,
    "area_px": _NUMBER,
    "area_mm2": _NUMBER,
    "image_fraction": _NUMBER,
    "warnings": _TEXT,
}
FAMILIARITY_COLUMNS = {"is_outside": _FLAG}
VOLUME_COLUMNS = {
    "mode": _TEXT,
    "volume_ml": _NUMBER,
    "slice_axis": _TEXT,
    "first_slice": _NUMBER,
    "last_slice": _NUMBER,
}
COLUMNS = {
    "id": _TEXT,
    "image": _TEXT,
    "query_name": _TEXT,
    "query": _TEXT,
    "status": _TEXT,
    "reason": _TEXT,
    **ANSWER_COLUMNS,
    "folder": _TEXT,
    **VOLUME_COLUMNS,
    **FAMILIARITY_COLUMNS,
}


def answer_columns(result: Result | VolumeResult) -> dict[str, Any]:
    """A result's part of its row.

    Confidences are 0..1. Sizes are those of all findings together, `area_mm2` None without a
    pixel spacing. `presence_confidence` is that of the likeliest finding. Slices are counted
    along the volume's own axis that `slice_axis` names. `is_outside` is None where familiarity
    is unknown.
    """
    if isinstance(result, VolumeResult):
        return {**_shared_columns(volume_result_to_dict(result)), **_volume_columns(result)}
    return {**_shared_columns(result_to_dict(result)), **_image_columns(result)}


def _shared_columns(answer: Mapping[str, Any]) -> dict[str, Any]:
    diagnosis, findings = answer["diagnosis"], answer["findings"]
    familiarity = answer["familiarity"]
    others = [
        f"{other['label']} {other['confidence']:.2f}"
        for other in diagnosis["alternatives"]
        if other["confidence"] is not None
    ]
    presences = [f["confidence"] for f in findings if f["confidence"] is not None]
    return {
        "diagnosis": diagnosis["label"],
        "confidence": diagnosis["confidence"],
        "alternatives": "; ".join(others),
        "finding": "; ".join(finding["label"] for finding in findings),
        "present": any(finding["present"] for finding in findings),
        "presence_confidence": max(presences, default=None),
        "warnings": "; ".join(answer["warnings"]),
        "is_outside": None if familiarity is None else familiarity["is_outside"],
    }


def _image_columns(result: Result) -> dict[str, Any]:
    sizes = measure(result.mask, result.case)
    known = {name: sizes.get(name) for name in ("area_px", "area_mm2", "image_fraction")}
    return {
        "mode": SLICE,
        **{name: None if size is None else rounded(size) for name, size in known.items()},
    }


def _volume_columns(result: VolumeResult) -> dict[str, Any]:
    voxels = int(result.mask.sum())
    first, last = result.slice_range or (None, None)
    return {
        "mode": result.mode,
        "image_fraction": rounded(voxels / result.mask.size),
        "volume_ml": rounded(voxels * math.prod(result.case.geometry.spacing) / 1000),
        "slice_axis": result.view.index_axis,
        "first_slice": first,
        "last_slice": last,
    }


def rows(tasks: Sequence[Task], outcomes: Mapping[Key, Outcome]) -> list[dict[str, Any]]:
    """Rows in the order of ids and names of queries; every task must have its outcome."""
    made = []
    for task in sorted(tasks, key=lambda task: task.key):
        outcome = outcomes[task.key]
        made.append(
            {
                "id": task.study,
                "image": task.image,
                "query_name": task.query_name,
                "query": task.query,
                "status": outcome.status,
                "reason": outcome.reason,
                **{name: outcome.answer.get(name) for name in ANSWER_COLUMNS},
                "folder": task.folder if outcome.status == DONE else "",
                **{name: outcome.answer.get(name) for name in VOLUME_COLUMNS},
                **{name: outcome.answer.get(name) for name in FAMILIARITY_COLUMNS},
            }
        )
    return made


def write_csv(table: Sequence[Mapping[str, Any]], path: Path) -> None:
    """UTF-8 with a header; unknown values are empty, flags `true` and `false`.

    Raises:
        Sim4SegError: if it cannot be written.
    """
    replace_text(path, _csv_text(list(COLUMNS), ([row[name] for name in COLUMNS] for row in table)))


def write_timings(tasks: Sequence[Task], outcomes: Mapping[Key, Outcome], path: Path) -> None:
    """Seconds of each answer as they were in the run that gave it.

    Raises:
        Sim4SegError: if it cannot be written.
    """
    lines = ([*key, outcomes[key].seconds] for key in sorted(task.key for task in tasks))
    replace_text(path, _csv_text(["id", "query_name", "seconds"], lines))


def write_parquet(table: Sequence[Mapping[str, Any]], path: Path) -> bool:
    """The table with its types.

    Returns:
        False if pyarrow is not installed; nothing is then written.

    Raises:
        Sim4SegError: if it cannot be written.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return False
    types = {_TEXT: pyarrow.string(), _NUMBER: pyarrow.float64(), _FLAG: pyarrow.bool_()}
    schema = pyarrow.schema([(name, types[kind]) for name, kind in COLUMNS.items()])
    columns = {
        name: [_unicode(row[name]) if kind == _TEXT else row[name] for row in table]
        for name, kind in COLUMNS.items()
    }
    arrow = pyarrow.Table.from_pydict(columns, schema=schema)
    replace_file(path, lambda temporary: parquet.write_table(arrow, temporary))
    return True


def _csv_text(header: list[str], lines: Any) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for line in lines:
        writer.writerow([str(v).lower() if isinstance(v, bool) else v for v in line])
    return text.getvalue()


def _unicode(text: str | None) -> str | None:
    """Names of files may hold bytes that are no text."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()
