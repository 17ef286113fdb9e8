"""Many images and many queries: nodes one after the other, folders by `sim4seg batch`."""

from __future__ import annotations

import csv
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from Sim4SegCore.errors import Sim4SegError

from .connection import ServiceSettings, environment_of_child
from .installer import check_packages
from .report_text import is_outside

EXIT_SOME_FAILED = 3
POLL_S = 0.02
STOP_S = 10.0
COLUMNS = ("volume", "query", "diagnosis", "confidence", "found", "outside", "error")


@dataclass(frozen=True)
class BatchRow:
    """One query about one volume.

    Attributes:
        result: a QueryResult, None if it failed.
        error: one sentence, empty if it did not.
    """

    volumeNode: Any
    query: str
    result: Any = None
    error: str = ""


@dataclass
class BatchRows:
    """What became of a batch; behaves as the list of its rows."""

    rows: list[BatchRow] = field(default_factory=list)

    def __iter__(self) -> Iterator[BatchRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> BatchRow:
        return self.rows[index]

    def save(self, path: str | Path) -> None:
        """Write a CSV table; its columns are COLUMNS.

        Raises:
            Sim4SegError: if the file exists or cannot be written.
        """
        try:
            with Path(path).open("x", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(COLUMNS)
                writer.writerows(_cells(row) for row in self.rows)
        except OSError as error:
            raise Sim4SegError(
                f"the table cannot be written ({error.strerror}); choose another file"
            ) from None


def read_queries(path: str | Path) -> list[str]:
    """The queries of a CSV file with the column `query`.

    Raises:
        Sim4SegError: if it cannot be read or has none.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Sim4SegError(f"{Path(path).name} cannot be read as a CSV file ({error})") from None
    queries = [(row.get("query") or "").strip() for row in rows]
    if not any(queries):
        raise Sim4SegError(f"{Path(path).name} needs a column 'query' with at least one query")
    return [query for query in queries if query]


def ask_all(
    volume_nodes: Sequence[Any],
    queries: Sequence[str],
    ask: Callable[[Any, str], Any],
    told: Callable[[BatchRow], None],
) -> BatchRows:
    """Ask each query about each volume; what fails does not end the rest.

    Args:
        ask: gives a QueryResult, or raises Sim4SegError.
        told: called after each.
    """
    done = BatchRows()
    for node in volume_nodes:
        for query in queries:
            try:
                row = BatchRow(node, query, ask(node, query))
            except Sim4SegError as error:
                row = BatchRow(node, query, error=str(error))
            done.rows.append(row)
            told(row)
    return done


class FolderBatch:
    """`sim4seg batch` as a child process; starting it again goes on where it was stopped."""

    def __init__(
        self,
        studies: Path,
        output: Path,
        python: str,
        queries: Path | None = None,
        query: str = "",
        settings: ServiceSettings | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        """
        Args:
            studies: a folder, or a CSV file that lists images.
            output: a folder for table, report and results.
            python: the interpreter that has the packages.
            queries: CSV file with the column `query`; else `query` is asked.
            settings: model and device; a server cannot do this.
            environment: added to this process's, see `Connection.environment`.

        Raises:
            Sim4SegError: if there is nothing to ask, or the settings name a server.
        """
        chosen = settings or ServiceSettings()
        if not chosen.is_local:
            raise Sim4SegError("folders are asked on this computer; leave the server out")
        if (queries is None) == (not query):
            raise Sim4SegError("give either a query or a CSV file of queries")
        asked = ["--query", query] if queries is None else ["--queries", str(queries)]
        model = [] if chosen.model == "embedded" else ["--model", chosen.model]
        self._command = [python, "-m", "Sim4SegCore.cli", "batch", str(studies), *asked]
        self._command += ["-o", str(output), "--device", chosen.device, *model]
        self._environment = environment_of_child(environment)
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._last = ""
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Begin; returns at once.

        Raises:
            Sim4SegError: if packages are missing, or the process cannot be started.
        """
        check_packages()
        new_group = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="replace",
                env=self._environment,
                # A group of its own: PythonSlicer is a launcher, and Ctrl-C must reach what it
                # launched.
                start_new_session=True,
                creationflags=new_group | getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            raise Sim4SegError(f"the batch cannot be started ({error.strerror})") from None
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()

    def poll(self, wait_s: float = POLL_S) -> list[str]:
        """New lines of its output."""
        lines: list[str] = []
        try:
            lines.append(self._lines.get(timeout=wait_s))
            while True:
                lines.append(self._lines.get_nowait())
        except queue.Empty:
            pass
        self._last = lines[-1] if lines else self._last
        return lines

    @property
    def is_over(self) -> bool:
        """Whether the process has ended."""
        return self._process is None or self._process.poll() is not None

    def finish(self) -> int:
        """After its end: how it ended.

        Returns:
            0, or EXIT_SOME_FAILED if some studies could not be answered.

        Raises:
            Sim4SegError: with its last words, if it did not finish.
        """
        assert self._process is not None
        code = self._process.wait()
        self.poll(POLL_S)
        if code not in (0, EXIT_SOME_FAILED):
            reason = self._last.removeprefix("sim4seg: ") or f"exit code {code}"
            raise Sim4SegError(f"the batch did not finish: {reason}")
        return code

    def cancel(self) -> None:
        """End it as Ctrl-C does: what is done stays, and the same call goes on from there."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        try:
            _interrupt(process)
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip():
                self._lines.put(line.rstrip())


def _interrupt(process: subprocess.Popen[str]) -> None:
    if hasattr(signal, "CTRL_BREAK_EVENT"):
        process.send_signal(signal.CTRL_BREAK_EVENT)
    else:
        import os

        os.killpg(process.pid, signal.SIGINT)


def _cells(row: BatchRow) -> tuple[Any, ...]:
    result = row.result
    if result is None:
        return row.volumeNode.GetName(), row.query, "", "", "", "", row.error
    found = [each["label"] for each in result.document["findings"] if each["present"]]
    confidence = "" if result.confidence is None else f"{result.confidence:.3f}"
    name = row.volumeNode.GetName()
    outside = "yes" if is_outside(result.document) else ""
    return name, row.query, result.diagnosis or "", confidence, "; ".join(found), outside, ""
