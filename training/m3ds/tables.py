"""CSV and JSON files of downloads, read with messages that name the file."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from Sim4SegCore.errors import Sim4SegError


def read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a CSV with a header; values stripped.

    Raises:
        Sim4SegError: if it is not a text table or a column is missing.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines)
            missing = [c for c in columns if c not in (reader.fieldnames or ())]
            if missing:
                raise Sim4SegError(f"{path} has no column '{missing[0]}'; is it the original file?")
            return [{k: (v or "").strip() for k, v in row.items() if k} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Sim4SegError(f"{path} cannot be read as a CSV table: {error}") from None


def read_pairs(path: Path) -> dict[str, str]:
    """A CSV of two columns without a header, as name -> label.

    Raises:
        Sim4SegError: if it is not such a table.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            rows = [row for row in csv.reader(lines) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Sim4SegError(f"{path} cannot be read as a CSV table: {error}") from None
    if any(len(row) < 2 for row in rows):
        raise Sim4SegError(f"{path} must have two columns, name and label")
    return {row[0].strip(): row[1].strip() for row in rows}


def read_json(path: Path) -> Any:
    """A JSON document.

    Raises:
        Sim4SegError: if it is cut off or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise Sim4SegError(f"{path} is cut off or no JSON ({error}); unpack it again") from None
