"""Paired differences, and the paper's numbers beside ours."""

import csv
import dataclasses
import io

import numpy as np
import pytest

from Sim4SegCore.errors import Sim4SegError
from training.ablation.paper import SHARED, paper_markdown
from training.ablation.stored import Answers, check_paired, read_answers, write_answers
from training.ablation.tables import compare, comparison_csv, comparison_markdown
from training.evaluation import Row
from training.evaluation.overlap import measure_overlap


def rows_with(shifts, dataset="BUSI"):
    truth = np.zeros((40, 40), bool)
    truth[10:20, 10:20] = True
    rows = []
    for n, shift in enumerate(shifts):
        mask = np.roll(truth, int(shift), axis=1)
        overlap = measure_overlap(mask, truth)
        rows.append(
            Row(
                id=str(n), dataset=dataset, target="breast mass", present=True, iou=overlap.iou,
                mask_drawn=True, presence=0.9, diagnosis="benign", predicted="benign",
                confidence=0.9, modality_right=True, overlap=overlap,
            )
        )  # fmt: skip
    return tuple(rows)


@pytest.fixture
def answers():
    shifts = np.random.default_rng(0).integers(0, 9, 40)
    return {
        "soft": Answers(rows_with(shifts), 0.5),
        "worse": Answers(rows_with(shifts + 1), 0.5),
        "same": Answers(rows_with(shifts), 0.5),
    }


def test_differences_are_paired(answers):
    compared = compare(answers, "soft")
    assert compared["soft"]["giou"].difference is None
    same = compared["same"]["giou"]
    assert (same.difference, same.bounds) == (0.0, (0.0, 0.0))
    worse = compared["worse"]["giou"]
    assert worse.bounds[0] < worse.difference < worse.bounds[1] < 0
    # Images differ far more from each other than the two variants do on each of them.
    spread = np.std([row.iou for row in answers["soft"].rows]) / 40**0.5
    assert worse.bounds[1] - worse.bounds[0] < 2 * 1.96 * spread


def test_markdown_and_csv_say_the_same(answers):
    table = comparison_markdown(answers, "soft")
    lines = {line.split("|")[1].strip(): line for line in table.splitlines() if "| " in line}
    cells = list(csv.DictReader(io.StringIO(comparison_csv(answers, "soft"))))
    for cell in cells:
        if cell["value"]:
            assert f"{float(cell['value']):.3f}" in lines[cell["variant"]]
        if cell["low"]:
            assert (
                f"{float(cell['low']):+.3f} to {float(cell['high']):+.3f}" in lines[cell["variant"]]
            )
    assert cells[-1] == {
        "variant": "same", "metric": "presence_auroc", "value": "", "difference": "",
        "low": "", "high": "",
    }  # fmt: skip


def test_the_paper_stands_beside_ours(answers):
    table = paper_markdown(answers)
    assert "differ" in table
    busi = next(line for line in table.splitlines() if line.startswith("| BUSI"))
    assert "45.91 / 47.30 / 80.00 | 49.42 / 49.49 / 81.67 | 49.28 / 50.10 / 78.33" in busi
    mean = 100 * np.mean([row.iou for row in answers["soft"].rows])
    assert f"| BUSI | 40 | {mean:.2f} / " in busi
    assert busi.rstrip(" |").endswith("100.00")
    fives = next(line for line in table.splitlines() if "| FIVES | 0 |" in line)
    assert "none in this split" in fives
    assert {"BUSI", "FracAtlas", "BFD", "Kvasir-SEG", "FIVES", "ISBI", "ISIC"} == {
        shared.paper.name for shared in SHARED
    }


def test_answers_come_back_as_they_were(answers, tmp_path):
    write_answers(tmp_path / "answers.json", answers["worse"])
    assert read_answers(tmp_path / "answers.json") == answers["worse"]
    (tmp_path / "answers.json").write_text('{"rows": [{"id"')
    with pytest.raises(Sim4SegError, match="delete it and resume"):
        read_answers(tmp_path / "answers.json")


def test_other_questions_cannot_be_compared(answers):
    rows = answers["soft"].rows
    changed = (dataclasses.replace(rows[0], id="x"), *rows[1:])
    with pytest.raises(Sim4SegError, match="different questions"):
        check_paired(rows, changed)
