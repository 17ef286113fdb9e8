"""Markdown, CSV and JSON of one evaluation say the same."""

import csv
import io
import json

import pytest

from training.evaluation import markdown, summarise
from training.evaluation.tables import (
    COLUMNS,
    MISSING,
    facts_markdown,
    metrics_csv,
    metrics_json,
    rows_csv,
)


@pytest.fixture
def table(mixed_rows):
    return summarise(mixed_rows, 0.5)


def parse(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_and_json_agree(table):
    stored = json.loads(metrics_json(table, 0.5))
    assert stored["presence_threshold"] == 0.5
    for flat, nested in zip(parse(metrics_csv(table)), stored["sets"], strict=True):
        for name, value in nested.items():
            if isinstance(value, int | float):
                assert float(flat[name]) == value
            elif value is None:
                assert flat[name] == ""
        for name, (low, high) in nested["intervals"].items():
            assert (float(flat[f"{name}_low"]), float(flat[f"{name}_high"])) == (low, high)
        for kind, fact in nested["facts"].items():
            assert int(flat[f"fact_{kind}_statements"]) == fact["statements"]


def test_markdown_rounds_what_csv_holds(table):
    head, _, *lines = markdown(table).splitlines()
    titles = [cell.strip() for cell in head.strip("|").split("|")]
    assert titles == list(COLUMNS.values())
    for line, flat in zip(lines, parse(metrics_csv(table)), strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for cell, name in zip(cells, COLUMNS, strict=True):
            if cell == MISSING:
                assert flat[name] == ""
            elif name in ("name", "questions"):
                assert cell == flat[name]
            else:
                assert float(cell.split()[0]) == pytest.approx(float(flat[name]), abs=0.051)


def test_intervals_stand_beside_their_number(table):
    line = next(line for line in markdown(table).splitlines() if line.startswith("| LGG"))
    low, high = next(m for m in table if m.name == "LGG").intervals["giou"]
    assert f"({low:.2f}–{high:.2f})" in line


def test_facts_show_the_constant_answer(table):
    line = next(line for line in facts_markdown(table).splitlines() if line.startswith("| LGG"))
    assert "| 0.67 (0.67) | 1.00 (1.00) |" in line
    assert "PH2" not in facts_markdown(table)


def test_rows_keep_every_question(mixed_rows):
    flat = parse(rows_csv(mixed_rows))
    assert len(flat) == len(mixed_rows)
    assert float(flat[2]["mask_dice"]) == mixed_rows[2].overlap.dice
    assert flat[0]["mask_dice"] == flat[0]["true_location"] == ""
    assert flat[2]["stated_location"] == "in the centre"
