"""What is chosen and typed in the panel, with the habits of Slicer's widgets."""

import logging

import numpy as np
import opened_panel
import pytest
import slicer_qt
from mrml_scene import slicer
from PySide6 import QtTest

slicer_qt.with_properties(__name__)
opened = opened_panel.opened


def offered(selector):
    return [selector.nodeFromIndex(index).GetName() for index in range(selector.nodeCount())]


def label_map(opened, name="labels"):
    return opened.scene.mrml.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", name)


def answered(opened, query):
    opened.ask(query)
    opened.until_over()
    return opened.parameters.shownReport


def test_images_in_grey_and_colour_are_offered_and_nothing_else(opened):
    label_map(opened)
    opened.volume()
    opened.ui.sampleButton.click()
    opened.volume()
    answered(opened, "Is there a mass?")
    assert opened.scene.mrml.GetFirstNodeByName("scan similarity") is not None
    assert offered(opened.ui.inputSelector) == ["scan", "Sim4Seg sample", "scan"]


def test_a_colour_image_can_be_picked(opened):
    opened.volume()
    picture = opened.scene.volume(np.zeros((1, 20, 24, 3), np.uint8), name="photograph")
    opened.ui.inputSelector.setCurrentNode(picture)
    assert opened.parameters.inputVolume is picture
    assert opened.ui.inputSelector.currentNode() is picture
    answered(opened, "Is there a skin lesion?")
    assert opened.ui.statusLabel.text.startswith("Answered")


def test_the_similarity_map_of_a_saved_scene_is_not_offered(opened, tmp_path):
    opened.volume()
    answered(opened, "Is there a mass?")
    opened.scene.mrml.SetSaveToXMLString(1)
    opened.scene.mrml.Commit()
    saved = opened.scene.mrml.GetSceneXMLString()
    opened.scene.mrml.Clear(1)
    opened.scene.mrml.SetLoadFromXMLString(1)
    opened.scene.mrml.SetSceneXMLString(saved)
    opened.scene.mrml.Import()
    assert opened.scene.mrml.GetFirstNodeByName("scan similarity") is not None
    assert offered(opened.ui.inputSelector) == ["scan"]
    assert "Is there a mass?" in opened.ui.reportBrowser.plainText


def test_a_query_is_typed_from_left_to_right(opened):
    opened.volume()
    box = opened.ui.queryTextEdit
    QtTest.QTest.keyClicks(box, "Is there a mass?")
    assert box.plainText == "Is there a mass?"
    assert opened.parameters.query == "Is there a mass?"
    for _ in range(5):
        box.moveCursor(box.textCursor().MoveOperation.Left)
    QtTest.QTest.keyClicks(box, "small ")
    opened.ui.samplesSpinBox.value = 3
    QtTest.QTest.keyClicks(box, "new ")
    assert box.plainText == "Is there a small new mass?"


def test_a_query_that_another_module_sets_is_shown(opened):
    opened.parameters.query = "Is there a fracture?"
    assert opened.ui.queryTextEdit.plainText == "Is there a fracture?"


def test_the_picked_answer_is_the_one_that_is_shown(opened):
    opened.volume()
    first = answered(opened, "Is there a mass?")
    second = answered(opened, "Is there a cyst?")
    assert "Is there a cyst?" in opened.ui.reportBrowser.plainText
    opened.ui.reportSelector.setCurrentNode(first)
    assert "Is there a mass?" in opened.ui.reportBrowser.plainText
    assert opened.parameters.shownReport is first
    opened.ui.reportSelector.setCurrentNode(second)
    assert "Is there a cyst?" in opened.ui.reportBrowser.plainText
    opened.ui.reportSelector.setCurrentNode(None)
    assert opened.ui.reportBrowser.plainText == ""


def test_an_answer_that_is_deleted_or_undone_is_no_longer_shown(opened):
    opened.scene.mrml.SetUndoOn()
    opened.volume()
    answered(opened, "Is there a mass?")
    answered(opened, "Is there a cyst?")
    opened.scene.mrml.Undo()
    assert "Is there a mass?" in opened.ui.reportBrowser.plainText
    opened.scene.mrml.RemoveNode(opened.parameters.shownReport)
    assert opened.ui.reportBrowser.plainText == ""
    assert not opened.ui.exportButton.enabled


@pytest.mark.parametrize("action", ["export", "accept"])
def test_an_unexpected_error_is_said_and_logged_without_names(
    opened, monkeypatch, tmp_path, caplog, action
):
    opened.volume()
    answered(opened, "Is there a mass?")
    opened.dialogs.folder = str(tmp_path)

    def broken(*_):
        raise KeyError("Erika Mustermann")

    monkeypatch.setattr(f"Sim4SegLib.answer_panel.{action}_report", broken)
    with caplog.at_level(logging.ERROR):
        getattr(opened.ui, f"{action}Button").click()
    assert "failed unexpectedly (KeyError)" in opened.ui.statusLabel.text
    assert "KeyError at answer_panel.py" in caplog.text and "broken" in caplog.text
    assert "Mustermann" not in caplog.text + opened.ui.statusLabel.text


def test_the_image_that_is_looked_at_is_chosen_first(opened):
    opened.widget.exit()
    opened.parameters.inputVolume = None
    label_map(opened)
    first = opened.volume()
    second = opened.scene.volume(np.zeros((3, 4, 5), np.uint8), name="second")
    opened.parameters.inputVolume = None
    selection = opened.scene.application.GetSelectionNode()
    selection.SetActiveVolumeID(second.GetID())
    opened.widget.enter()
    assert opened.parameters.inputVolume is second
    opened.widget.exit()
    opened.parameters.inputVolume = None
    selection.SetActiveVolumeID(slicer.mrmlScene.GetFirstNodeByName("labels").GetID())
    opened.widget.enter()
    assert opened.parameters.inputVolume is first
