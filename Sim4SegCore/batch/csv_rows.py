"""Tables that users wrote: CSV from scripts and spreadsheets."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from ..errors import Sim4SegError
from ..io import explain_os_error, quoted

MAX_LISTED_PROBLEMS = 5


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        line: its number in the file, from 1, as an editor shows it.
        values: column (lower case) -> text without surrounding blanks; missing ones are "".
    """

    line: int
    values: dict[str, str]

    def __getitem__(self, column: str) -> str:
        return self.values.get(column, "")


def read_rows(path: Path, required: str) -> list[Row]:
    """All lines that are not blank; commas, semicolons and tabs may separate the columns.

    Raises:
        Sim4SegError: if the file cannot be read, is not UTF-8, lacks the required column, or
            a line has more values than there are columns.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise explain_os_error(error, path, "read") from None
    except UnicodeDecodeError:
        raise Sim4SegError(
            f"cannot read {quoted(path)}: it is not UTF-8 text; save it as CSV UTF-8"
        ) from None
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = [name.strip().lower() for name in reader.fieldnames or []]
        reader.fieldnames = columns
        _check_columns(path, columns, required)
        rows = [_row(path, reader.line_num, values) for values in reader]
    except csv.Error:
        raise Sim4SegError(
            f"cannot read {quoted(path)}: the quotes around line {reader.line_num} do not match"
        ) from None
    rows = [row for row in rows if any(row.values.values())]
    if not rows:
        raise Sim4SegError(f"{quoted(path)} has no lines below its header")
    return rows


def refuse_if_any(path: Path, problems: list[str]) -> None:
    """List what is wrong with a table, all at once, so that it is put right in one go.

    Raises:
        Sim4SegError: if there are problems.
    """
    if problems:
        more = len(problems) - MAX_LISTED_PROBLEMS
        tail = [f"and {more} more"] if more > 0 else []
        listed = "; ".join([*problems[:MAX_LISTED_PROBLEMS], *tail])
        raise Sim4SegError(f"cannot use {quoted(path)}: {listed}")


def _check_columns(path: Path, columns: list[str], required: str) -> None:
    if required not in columns:
        raise Sim4SegError(f"{quoted(path)} needs a column named '{required}' in its first line")
    doubled = sorted({name for name in columns if name and columns.count(name) > 1})
    if doubled:
        raise Sim4SegError(f"{quoted(path)} has several columns named '{doubled[0]}'")


def _row(path: Path, line: int, values: dict[str | None, str | list[str] | None]) -> Row:
    if None in values:
        raise Sim4SegError(
            f"cannot read {quoted(path)}: line {line} has more values than columns; "
            "put quotes around text that holds the separator"
        )
    return Row(line, {str(name): str(value or "").strip() for name, value in values.items()})
