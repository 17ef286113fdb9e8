"""Append-only files: torn lines, broken lines, a full disk, two writers."""

import subprocess
import sys

import pytest

from Sim4SegCore.errors import Sim4SegError
from training.cot.journal import Journal, read_journal


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "j.jsonl"


def write(path, *records):
    with Journal(path, ("n",)) as journal:
        for record in records:
            journal.append(record)


def numbers(path):
    return [record["n"] for record in read_journal(path, ("n",))]


def test_records_come_back_in_order(path):
    assert numbers(path) == []
    write(path, {"n": 1, "text": "a\nb “ü”"}, {"n": 2})
    write(path, {"n": 3})
    assert numbers(path) == [1, 2, 3]
    assert read_journal(path, ())[0]["text"] == "a\nb “ü”"


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_line_cut_short_by_a_kill_is_dropped_wherever_it_was_cut(path, cut):
    write(path, {"n": 1}, {"n": 2})
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    # Cut only by its line end, the record itself is complete.
    kept = [1, 2] if cut == 1 else [1]
    assert numbers(path) == kept
    write(path, {"n": 3})
    assert numbers(path) == [*kept, 3]


@pytest.mark.parametrize("line", ['{"n": 2', '{"m": 2}', "[2]", "\ufeff"])
def test_a_broken_line_is_named_and_nothing_is_changed(path, line):
    write(path, {"n": 1})
    with path.open("a") as file:
        file.write(f'{line}\n{{"n": 3}}\n')
    before = path.read_bytes()
    for use in (lambda: read_journal(path, ("n",)), lambda: Journal(path, ("n",))):
        with pytest.raises(Sim4SegError, match=r"j\.jsonl:2 "):
            use()
    assert path.read_bytes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="no file locks there")
def test_only_one_process_writes(path):
    with Journal(path, ()), pytest.raises(Sim4SegError, match="written by another process"):
        Journal(path, ())
    Journal(path, ()).close()


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Sim4SegError, match="cannot write"):
        Journal(tmp_path / "file" / "j.jsonl", ())


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from Sim4SegCore.errors import Sim4SegError
from training.cot.journal import Journal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
journal = Journal(Path(sys.argv[1]), ("n",))
try:
    for n in range(100):
        journal.append({"n": n, "text": "x" * 20})
except Sim4SegError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limits there")
def test_out_of_disk_keeps_what_was_written(path):
    """A limit on the file's size fails in the middle of a line, as a full disk does."""
    made = subprocess.run(
        [sys.executable, "-c", FULL_DISK, path], capture_output=True, text=True, check=True
    )
    assert "2 records are safe, make room and run the same command again" in made.stdout
    assert path.read_bytes().endswith(b"\n")
    assert numbers(path) == [0, 1]
    write(path, {"n": 2})
    assert numbers(path) == [0, 1, 2]
