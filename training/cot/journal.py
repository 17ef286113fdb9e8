"""Append-only JSON lines that survive a kill, a full disk and a second writer.

A record counts once its line is complete and on the disk. A line that a kill cut short is the
last one and has no line end; it was never reported as written and is dropped.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from Sim4SegCore.errors import Sim4SegError


def read_journal(path: Path, required: tuple[str, ...]) -> list[dict[str, Any]]:
    """All complete records; none if there is no file.

    Raises:
        Sim4SegError: for a broken line, naming it, or one without a required field.
    """
    if not path.is_file():
        return []
    records = []
    whole, _, torn = path.read_bytes().rpartition(b"\n")
    lines = whole.split(b"\n")
    if torn and _parsed(torn) is not None:
        lines.append(torn)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        record = _parsed(line)
        missing = [] if record is None else [name for name in required if name not in record]
        if record is None or missing:
            what = f"lacks '{missing[0]}'" if missing else "is broken"
            raise Sim4SegError(
                f"{path}:{number} {what}; mend or remove that line, the others are untouched"
            )
        records.append(record)
    return records


class Journal:
    """The one writer of a file.

    Raises:
        Sim4SegError: on opening, if the file is broken, cannot be written, or has a writer.
    """

    def __init__(self, path: Path, required: tuple[str, ...]) -> None:
        """Open for appending and read what is there.

        Args:
            required: fields that every record has.
        """
        self.path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")
        except OSError as error:
            raise Sim4SegError(f"cannot write {path}: {error.strerror}") from None
        try:
            self._claim()
            self.records = read_journal(path, required)
            self._drop_torn_line()
        except BaseException:
            self._file.close()
            raise

    def append(self, record: dict[str, Any]) -> None:
        """Write a record and wait until it is on the disk.

        Raises:
            Sim4SegError: if it cannot be written; the records before it stay whole.
        """
        line = json.dumps(record, ensure_ascii=False).encode() + b"\n"
        with self._lock:
            end = os.fstat(self._file.fileno()).st_size
            try:
                # Unbuffered, so that a failed write leaves nothing behind to be flushed later.
                written = os.write(self._file.fileno(), line)
                while written < len(line):
                    written += os.write(self._file.fileno(), line[written:])
                os.fsync(self._file.fileno())
            except OSError as error:
                os.ftruncate(self._file.fileno(), end)
                raise Sim4SegError(
                    f"cannot write {self.path}: {error.strerror}; {len(self.records)} records are "
                    "safe, make room and run the same command again"
                ) from None
            self.records.append(record)

    def close(self) -> None:
        """Let another process write."""
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _claim(self) -> None:
        if sys.platform == "win32":
            return
        import fcntl

        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Sim4SegError(f"{self.path} is being written by another process") from None

    def _drop_torn_line(self) -> None:
        content = self.path.read_bytes()
        whole, _, torn = content.rpartition(b"\n")
        if not torn:
            return
        if _parsed(torn) is not None:
            self._file.write(b"\n")
            self._file.flush()
        else:
            self._file.truncate(len(whole) + 1 if whole else 0)


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None
    return record if isinstance(record, dict) else None
