"""What the panel, the report and the table of a batch say of images unlike the training images."""

import csv

import pytest
from mrml_scene import document
from Sim4SegLib import report_text
from Sim4SegLib.batch import ask_all

from Sim4SegCore.report.wording import OUTSIDE_WARNING, sentence

STRANGE = {"is_outside": True, "distance": 2.5, "limit": 1.25}
KNOWN = {"is_outside": False, "distance": 0.5, "limit": 1.25}
UNLIKE = "Unlike what the model was trained on, first candidate: benign (81%)"


def uncertain(**changes):
    plain = document()
    return document(diagnosis={**plain["diagnosis"], "uncertain": True}, **changes)


def test_the_diagnosis_of_a_strange_image_is_no_suggestion():
    answer = uncertain(familiarity=STRANGE)
    markdown, html = report_text.as_markdown(answer), report_text.as_html(answer)
    assert f"**{UNLIKE}**" in markdown and f"<h3>{UNLIKE}</h3>" in html
    for text in (markdown, html):
        assert "Suggested diagnosis" not in text and "Uncertain" not in text


@pytest.mark.parametrize("more", [{}, {"familiarity": None}, {"familiarity": KNOWN}], ids=str)
def test_the_diagnosis_of_other_images_is_told_as_ever(more):
    """Answers of services that do not tell have no such field."""
    assert "<h3>Suggested diagnosis: benign (81%)</h3>" in report_text.as_html(document(**more))
    assert "<h3>Uncertain, first candidate: benign" in report_text.as_html(uncertain(**more))


def test_without_a_diagnosis_none_is_named():
    nothing = {"label": None, "confidence": None, "uncertain": False, "alternatives": []}
    html = report_text.as_html(document(diagnosis=nothing, familiarity=STRANGE))
    assert "<h3>No diagnosis is suggested.</h3>" in html


def test_the_warning_is_said_once():
    report = {"limitations": [sentence(OUTSIDE_WARNING), "One image was assessed."]}
    answer = uncertain(familiarity=STRANGE, warnings=[OUTSIDE_WARNING], report=report)
    for text in (report_text.as_markdown(answer), report_text.as_html(answer)):
        assert text.count("outside what the model was trained on") == 1
        assert "One image was assessed." in text


class Node:
    def __init__(self, name):
        self.name = name

    def GetName(self):
        return self.name


class Result:
    diagnosis = "benign"
    confidence = 0.81

    def __init__(self, answer):
        self.document = answer


def test_the_table_of_a_batch_marks_strange_volumes(tmp_path):
    answers = {
        "strange": document(familiarity=STRANGE),
        "known": document(familiarity=KNOWN),
        "unknown": document(familiarity=None),
        "older service": document(),
    }
    nodes = [Node(name) for name in answers]
    rows = ask_all(nodes, ["?"], lambda node, _: Result(answers[node.name]), lambda row: None)
    rows.save(tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as file:
        marks = {row["volume"]: row["outside"] for row in csv.DictReader(file)}
    assert marks == {"strange": "yes", "known": "", "unknown": "", "older service": ""}
