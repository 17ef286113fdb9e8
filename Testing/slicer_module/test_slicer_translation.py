"""Words that Slicer's translators can find, and that are then shown."""

import ast
import importlib
import sys
import types

import opened_panel
import slicer_qt
from mrml_scene import document

slicer_qt.with_properties(__name__)
opened = opened_panel.opened

STAGES = {
    "start": "Starting the service",
    "upload": "Sending the image",
    "queued": "Waiting for others",
    "load": "Loading the model",
    "encode": "Looking at the image",
    "answer": "Writing the answer",
    "mask": "Drawing the mask",
}


def test_every_translated_text_stands_in_the_code():
    """lupdate reads the code: it sees no text that is put together, or that a variable holds."""
    found = 0
    for path in slicer_qt.MODULE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                assert not any(map(is_translation, ast.walk(node))), f"{path.name}:{node.lineno}"
            elif is_translation(node):
                found += 1
                (text,) = node.args
                is_text = isinstance(text, ast.Constant) and isinstance(text.value, str)
                assert is_text, f"{path.name}:{node.lineno}"
    assert found > 60


def is_translation(node):
    return isinstance(node, ast.Call) and getattr(node.func, "id", None) == "_"


def test_every_stage_and_mode_has_words(opened):
    stage_text = importlib.import_module("Sim4SegLib.progress_text").stage_text
    assert {stage: stage_text(stage) for stage in STAGES} == STAGES
    assert stage_text("a newer service's own") == "a newer service's own"


def test_headings_of_the_report_are_translated(monkeypatch):
    translations = types.ModuleType("slicer.i18n")
    translations.tr = "«{}»".format
    monkeypatch.setitem(sys.modules, "slicer.i18n", translations)
    for name in ("Sim4SegLib.translation", "Sim4SegLib.report_text"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    report_text = importlib.import_module("Sim4SegLib.report_text")
    markdown, html = report_text.as_markdown(document()), report_text.as_html(document())
    for heading in ("Findings", "Reasoning"):
        assert f"## «{heading}»" in markdown
        assert f"<h4>«{heading}»</h4>" in html
