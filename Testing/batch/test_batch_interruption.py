"""Killed, interrupted, out of disk: the table ends up the same."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from batch_helpers import draw, read_table

from Sim4SegCore import painting
from Sim4SegCore.batch import manifest as manifest_module
from Sim4SegCore.batch import saving
from Sim4SegCore.batch.layout import Layout, locked
from Sim4SegCore.errors import Sim4SegError

SCRIPT = Path(__file__).with_name("batch_fake_predictor.py")
QUERY = "Is there a lesion?"


def start(cohort, out, *more, seconds="0.05"):
    command = [sys.executable, str(SCRIPT), str(cohort), "--query", QUERY, "-o", str(out), *more]
    environment = {**os.environ, "FAKE_SECONDS": seconds}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True
    )


def wait_for_lines(out, count, process):
    """Until the manifest has some lines, so that a kill meets a batch at work."""
    path = out / "manifest.jsonl"
    while process.poll() is None:
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.005)


@pytest.fixture
def large_cohort(tmp_path):
    folder = tmp_path / "cohort"
    for number in range(12):
        draw(folder / f"{number}.png", number)
    (folder / "broken.png").write_bytes(b"broken")
    return folder


@pytest.mark.slow
def test_kills_at_random_moments_leave_the_same_table(large_cohort, batch, tmp_path):
    batch(large_cohort, "--query", QUERY, out=tmp_path / "undisturbed")
    out = tmp_path / "out"
    dice = random.Random(20)
    kills = 0
    for goal in (0, 1, 3, 5, 8, 11):
        process = start(large_cohort, out)
        wait_for_lines(out, goal, process)
        time.sleep(dice.uniform(0, 0.15))
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    assert kills >= 4
    process = start(large_cohort, out)
    process.communicate(timeout=120)
    assert process.returncode == 3
    for name in ("results.csv", "results.parquet", "contact_sheet_001.png"):
        if (tmp_path / "undisturbed" / name).exists():
            assert (out / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()
    # Nothing half written stays, and nothing was done twice after it was in the manifest.
    assert list(out.glob("results/*/.*")) == []
    lines = (out / "manifest.jsonl").read_text().splitlines()
    assert len(lines) == 13


def test_ctrl_c_ends_with_130_and_can_go_on(large_cohort, batch, tmp_path):
    out = tmp_path / "out"
    # Slow enough that a busy machine is interrupted at work, too.
    process = start(large_cohort, out, seconds="0.5")
    wait_for_lines(out, 2, process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    before = (out / "manifest.jsonl").read_text().count("\n")
    assert before < 13
    assert not (out / "results.csv").exists()
    code, predictor = batch(large_cohort, "--query", QUERY, out=out)
    assert code == 3
    assert (out / "manifest.jsonl").read_text().count("\n") == 13
    assert len(read_table(out)) == 13
    assert len(predictor.encoded) < 12


def test_a_second_process_is_refused(large_cohort, batch, tmp_path):
    out = tmp_path / "out"
    process = start(large_cohort, out, seconds="0.5")
    try:
        wait_for_lines(out, 1, process)
        second = start(large_cohort, out)
        assert "another batch" in second.communicate(timeout=60)[1]
        assert second.returncode == 2
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
    # The lock died with its holder.
    with locked(Layout(out)):
        pass


def test_a_saver_that_is_killed_is_replaced(large_cohort, batch, tmp_path):
    batch(large_cohort, "--query", QUERY, out=tmp_path / "undisturbed")
    out = tmp_path / "out"
    process = start(large_cohort, out, seconds="0.2")
    killed = 0
    for goal in (1, 4):
        wait_for_lines(out, goal, process)
        for child in psutil.Process(process.pid).children():
            if "batch.saving" in " ".join(child.cmdline()):
                child.kill()
                killed += 1
    process.communicate(timeout=120)
    assert killed >= 2 and process.returncode == 3
    expected = (tmp_path / "undisturbed/results.csv").read_bytes()
    assert (out / "results.csv").read_bytes() == expected


def test_savers_end_with_a_batch_that_is_killed(large_cohort, tmp_path):
    process = start(large_cohort, tmp_path / "out", seconds="0.2")
    wait_for_lines(tmp_path / "out", 2, process)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []


def test_a_full_disk_ends_the_batch_in_one_sentence(cohort, batch, tmp_path, monkeypatch):
    save_png = painting.save_png
    pictures = []

    def fill_up(figure, path):
        pictures.append(path)
        if len(pictures) > 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        save_png(figure, path)

    with monkeypatch.context() as patch:
        patch.setattr(painting, "save_png", fill_up)
        with pytest.raises(Sim4SegError, match="no space left"):
            batch(cohort, "--query", QUERY)
    assert (tmp_path / "out/manifest.jsonl").read_text().count("\n") == 2
    code, predictor = batch(cohort, "--query", QUERY)
    assert code == 0 and len(predictor.encoded) == 3
    assert len(read_table(tmp_path / "out")) == 5


def test_a_disk_that_fills_up_under_the_manifest(cohort, batch, tmp_path, monkeypatch):
    """Half a line fits; it must not be there when the batch goes on."""
    write = os.write
    written = []

    def write_half(handle, data):
        if not data.startswith(b'{"study"'):
            return write(handle, data)
        written.append(data)
        if len(written) == 3:
            return write(handle, data[: len(data) // 2])
        if len(written) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data)

    with monkeypatch.context() as patch:
        patch.setattr(manifest_module.os, "write", write_half)
        with pytest.raises(Sim4SegError, match="no space left"):
            batch(cohort, "--query", QUERY)
    data = (tmp_path / "out/manifest.jsonl").read_bytes()
    assert data.count(b"\n") == 2 and data.endswith(b"\n")
    assert batch(cohort, "--query", QUERY)[0] == 0


def test_a_mask_that_cannot_be_written_is_not_done(cohort, batch, tmp_path, monkeypatch):
    """EIO without a full disk is that study's own trouble."""

    def fail_for_b(result, folder):
        if result.case.source.name == "b.png":
            raise OSError(errno.EIO, "came out incomplete")
        return save_result(result, folder)

    save_result = saving.save_result
    monkeypatch.setattr(saving, "save_result", fail_for_b)
    assert batch(cohort, "--query", QUERY)[0] == 3
    failed = [row for row in read_table(tmp_path / "out") if row["status"] == "failed"]
    assert [row["id"] for row in failed] == ["b.png"]
    assert batch(cohort, "--query", QUERY, out=tmp_path / "again")[0] == 3
    assert read_table(tmp_path / "again") == read_table(tmp_path / "out")
