"""The command as users call it, with the embedded model."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from batch_helpers import read_table
from PIL import Image

from Sim4SegCore.examples import draw_phantom

ROOT = Path(__file__).resolve().parents[2]
QUERIES = "name,query\nlesion,Is there a skin lesion? Segment it.\nfracture,Is there a fracture?\n"


@pytest.fixture
def phantoms(tmp_path):
    folder = tmp_path / "phantoms"
    folder.mkdir()
    for seed in range(2):
        Image.fromarray(draw_phantom(seed)[0]).save(folder / f"{seed}.png")
    (tmp_path / "queries.csv").write_text(QUERIES)
    return folder


def command(phantoms, out):
    queries = phantoms.parent / "queries.csv"
    batch = [sys.executable, "-m", "Sim4SegCore.cli", "batch", str(phantoms), "--device", "cpu"]
    return [*batch, "--queries", str(queries), "-o", str(out)]


@pytest.mark.slow
def test_embedded_model_answers_resumes_and_agrees_with_segment(phantoms, embedded, tmp_path):
    out, resumed = tmp_path / "out", tmp_path / "resumed"
    done = subprocess.run(
        command(phantoms, out), capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    table = read_table(out)
    assert [(row["id"], row["query_name"]) for row in table] == [
        ("0.png", "fracture"),
        ("0.png", "lesion"),
        ("1.png", "fracture"),
        ("1.png", "lesion"),
    ]
    for row in table:
        result = embedded.segment(phantoms / row["id"], row["query"])
        assert row["diagnosis"] == (result.diagnosis.label or "")
        assert float(row["area_px"]) == pytest.approx(result.mask.sum(), rel=0.01)
        saved = json.loads((out / row["folder"] / "result.json").read_text())
        assert saved["model"]["sha256"] == embedded.identity.sha256
    # As a kill after one answer would leave it: the rest is answered alone, to the same table.
    shutil.copytree(out, resumed)
    lines = (out / "manifest.jsonl").read_bytes().splitlines(keepends=True)
    (resumed / "manifest.jsonl").write_bytes(lines[0] + lines[1][:30])
    again = subprocess.run(command(phantoms, resumed), capture_output=True, cwd=ROOT, check=False)
    assert again.returncode == 0
    assert (resumed / "results.csv").read_bytes() == (out / "results.csv").read_bytes()


def test_the_command_line_stays_quick_to_import():
    code = (
        "import sys, Sim4SegCore.cli as cli\n"
        "cli._parser()\n"
        "print(sorted({'torch', 'pyarrow', 'matplotlib', 'pydicom'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"


def test_help_names_the_exit_codes():
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-m", "Sim4SegCore.cli", "batch", "--help"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        check=True,
    )
    for text in ("3:", "130:", "--retry-failed", "--num-parts"):
        assert text in done.stdout
