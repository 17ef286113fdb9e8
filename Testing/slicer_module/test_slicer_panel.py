"""The panel in real Qt widgets, loaded from the real .ui, on a real scene."""

import ast
import dataclasses
import re
import threading
import zipfile

import numpy as np
import opened_panel
import pytest
import slicer_qt
from mrml_scene import document, slicer
from opened_panel import HEALTH, Opened
from PySide6 import QtCore
from slicer_qt import application

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.service import RemoteAnswer

slicer_qt.with_properties(__name__)
opened = opened_panel.opened


def test_apply_waits_for_a_volume_and_a_query(opened):
    ui = opened.ui
    assert not ui.applyButton.enabled
    assert ui.applyButton.toolTip == "Pick a volume first."
    opened.volume()
    assert not ui.applyButton.enabled
    assert ui.applyButton.toolTip == "Type a query first."
    ui.queryTextEdit.plainText = "   "
    assert not ui.applyButton.enabled
    ui.queryTextEdit.plainText = "Is there a mass?"
    assert ui.applyButton.enabled
    assert not ui.cancelButton.enabled


def test_an_answer_is_shown_like_a_report(opened):
    opened.volume()
    opened.remote.answer = None
    opened.ask()
    assert not opened.ui.applyButton.enabled and opened.ui.cancelButton.enabled
    opened.until_over()
    text = opened.ui.reportBrowser.plainText
    assert "Suggested diagnosis: benign (81%)" in text
    assert "Also considered: malignant 19%" in text
    assert "breast mass: found" in text
    assert "24 mm²" in text and "px" not in text
    assert "in the upper left: contradicted (lower right)" in text
    assert "smooth: supported" in text
    assert text.count("not a medical device") == 1
    assert opened.ui.statusLabel.text.startswith("Answered in")
    assert opened.ui.applyButton.enabled
    assert opened.ui.editButton.enabled and opened.ui.exportButton.enabled
    node = opened.scene.mrml.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    assert node.GetSegmentation().GetNumberOfSegments() == 1
    assert opened.ui.exampleComboBox.itemText(1) == "Is there a mass?"


def test_warnings_stand_in_the_report_and_html_of_an_answer_is_only_text(opened):
    opened.volume()
    mask = np.ones((1, 20, 24), bool)
    values = document("<b>?", warnings=["the mask contradicts <i>the words</i>"])
    opened.remote.answer = RemoteAnswer(values, (mask,), None, 0)
    opened.ask("<b>?")
    opened.until_over()
    text = opened.ui.reportBrowser.plainText
    assert "the mask contradicts <i>the words</i>" in text
    assert "<b>?" in text


def test_votes_are_shown_where_there_are_some(opened):
    opened.volume()
    opened.ask()
    opened.until_over()
    assert not opened.ui.votesCheckBox.visible
    answers = [{"diagnosis": label} for label in ("benign", "benign", "malignant")]
    values = document(samples={"answers": answers})
    mask = np.ones((1, 20, 24), bool)
    opened.remote.answer = RemoteAnswer(values, (mask,), None, 0)
    opened.ask()
    opened.until_over()
    opened.ui.votesCheckBox.checked = True
    text = opened.ui.reportBrowser.plainText
    assert "Votes of 3 answers" in text
    assert re.search(r"benign\s+2", text) and re.search(r"malignant\s+1", text)


def test_progress_shows_the_stage_and_the_remaining_time(opened):
    opened.volume()
    opened.remote.is_held = True
    opened.ask()
    opened.until(lambda: opened.ui.progressBar.value == 500)
    assert opened.ui.statusLabel.text == "Writing the answer, about 3 s left"
    opened.remote.is_held = False
    opened.until_over()
    assert opened.ui.progressBar.value == 0


def test_cancel_is_heard_within_a_second_and_adds_nothing(opened):
    opened.volume()
    before = opened.scene.classes()
    opened.remote.is_held = True
    opened.ask()
    opened.until(lambda: opened.ui.progressBar.value == 500)
    opened.ui.cancelButton.click()
    opened.until_over()
    assert opened.ui.statusLabel.text == "Cancelled; nothing was added."
    assert opened.scene.classes() == before
    assert opened.ui.applyButton.enabled


@pytest.mark.parametrize(
    "error",
    [
        Sim4SegError("the service cannot be reached; check that it runs"),
        Sim4SegError("no valid token; ask the administrator"),
        Sim4SegError("the service speaks protocol 2.0; use the same version"),
    ],
    ids=["gone", "token", "version"],
)
@pytest.mark.parametrize("stage", ["health", "answer"])
def test_errors_stand_in_the_panel_and_the_next_query_can_be_asked(opened, error, stage):
    opened.volume()
    before = opened.scene.classes()
    setattr(opened.remote, "health_is" if stage == "health" else "answer", error)
    opened.ask()
    opened.until_over()
    assert str(error)[1:] in opened.ui.statusLabel.text
    assert opened.scene.classes() == before
    opened.remote.health_is, opened.remote.answer = HEALTH, None
    opened.ask()
    opened.until_over()
    assert opened.ui.statusLabel.text.startswith("Answered")


def test_packages_are_installed_only_after_asking(opened):
    opened.volume()
    opened.installer.lacks = ["torch>=2.4"]
    opened.dialogs.says = False
    opened.ask()
    assert opened.dialogs.questions == ["Install torch, about 3 GB?"]
    assert "not installed" in opened.ui.statusLabel.text
    assert opened.remote.asked == []
    opened.dialogs.says = True
    opened.ask()
    opened.until_over()
    assert opened.remote.asked == ["Is there a mass?"]


def test_a_failed_installation_is_said(opened):
    opened.volume()
    opened.installer.lacks = ["torch>=2.4"]
    opened.installer.error = Sim4SegError("the extension PyTorch is missing; install it")
    opened.ask()
    assert "extension PyTorch is missing" in opened.ui.statusLabel.text
    assert opened.ui.applyButton.enabled


def test_nothing_leaves_this_computer_unasked(opened):
    opened.volume()
    opened.ui.serverLineEdit.text = "https://sim4seg.example"
    opened.dialogs.says = False
    opened.ask()
    assert "https://sim4seg.example" in opened.dialogs.questions[0]
    assert opened.remote.asked == []
    opened.dialogs.says = True
    opened.ask()
    opened.until_over()
    opened.ask("Again?")
    opened.until_over()
    assert opened.remote.asked == ["Is there a mass?", "Again?"]
    assert len(opened.dialogs.questions) == 2


def test_an_address_that_is_none_is_refused(opened):
    opened.volume()
    opened.ui.serverLineEdit.text = "sim4seg.example"
    opened.ask()
    assert "https://" in opened.ui.statusLabel.text


def test_the_token_is_hidden_and_not_saved_with_the_scene(opened, tmp_path):
    opened.ui.tokenLineEdit.text = "a secret of the ward"
    assert opened.ui.tokenLineEdit.displayText != "a secret of the ward"
    assert opened.scene.mrml.WriteToMRB(str(tmp_path / "scene.mrb"), None)
    assert b"secret" not in (tmp_path / "scene.mrb").read_bytes()
    opened.scene.mrml.SetSaveToXMLString(1)
    opened.scene.mrml.Commit()
    assert "secret" not in opened.scene.mrml.GetSceneXMLString()


def test_modes_are_offered_as_far_as_the_service_has_them(opened):
    combo = opened.ui.modeComboBox
    assert shown(combo) == [
        "Current slice",
        "Volume, slice by slice",
        "Volume, in three dimensions",
    ]
    opened.remote.health_is = dataclasses.replace(HEALTH, modes=["slice", "volume"])
    opened.ui.testButton.click()
    opened.until(lambda: "embedded" in opened.ui.connectionLabel.text)
    assert shown(combo) == ["Current slice", "Volume, in three dimensions"]


def test_the_sample_runs_in_two_clicks(opened):
    opened.ui.sampleButton.click()
    assert opened.shown[0].GetImageData().GetDimensions() == (400, 300, 1)
    opened.ui.applyButton.click()
    opened.until_over()
    assert opened.ui.statusLabel.text.startswith("Answered")


def test_examples_fill_the_query(opened):
    opened.volume()
    opened.ui.exampleComboBox.currentIndex = 2
    opened.ui.exampleComboBox.activated.emit(2)
    assert opened.ui.queryTextEdit.plainText.startswith("Is there a tumor?")
    assert opened.ui.applyButton.enabled


def test_the_similarity_map_follows_the_slider(opened):
    opened.scene.slice_view()
    composite = opened.scene.mrml.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    opened.volume()
    assert not opened.ui.opacitySlider.enabled
    opened.ask()
    opened.until_over()
    assert composite.GetForegroundVolumeID() is None
    opened.ui.opacitySlider.value = 40.0
    assert composite.GetForegroundVolumeID() is not None
    assert composite.GetForegroundOpacity() == pytest.approx(0.4)
    opened.ui.opacitySlider.value = 0.0
    assert composite.GetForegroundVolumeID() is None


def test_edit_opens_the_segments_of_the_answer(opened):
    volume = opened.volume()
    opened.ask()
    opened.until_over()
    opened.ui.editButton.click()
    node = opened.scene.mrml.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    assert opened.edited == [(node, volume, node.GetSegmentation().GetNthSegmentID(0))]


def test_closing_the_scene_cancels_and_a_new_scene_starts_afresh(opened):
    opened.volume()
    opened.remote.is_held = True
    opened.ask()
    opened.until(lambda: opened.ui.progressBar.value == 500)
    opened.scene.mrml.Clear(1)
    opened.until_over()
    assert opened.scene.mrml.GetFirstNodeByClass("vtkMRMLSegmentationNode") is None
    assert opened.ui.reportBrowser.plainText == ""
    assert not opened.ui.applyButton.enabled
    opened.remote.is_held = False
    opened.volume()
    opened.ask()
    opened.until_over()
    assert opened.ui.statusLabel.text.startswith("Answered")


def test_another_module_may_be_opened_while_a_query_runs(opened):
    opened.volume()
    opened.remote.is_held = True
    opened.ask()
    opened.until(lambda: opened.ui.progressBar.value == 500)
    opened.widget.exit()
    opened.remote.is_held = False
    opened.until_over()
    opened.widget.enter()
    assert "benign" in opened.ui.reportBrowser.plainText


def test_what_was_chosen_is_kept_in_the_scene(opened):
    opened.ui.queryTextEdit.plainText = "Ist da ein Tümör?"
    opened.ui.deviceComboBox.currentIndex = 1
    opened.widget.exit()
    opened.ui.queryTextEdit.plainText = "other"
    opened.widget.enter()
    assert opened.ui.queryTextEdit.plainText == "Ist da ein Tümör?"
    assert opened.parameters.device == "cpu"


def test_the_module_can_be_reloaded_during_a_query(monkeypatch, opened, scene):
    opened.volume()
    opened.remote.is_held = True
    opened.ask()
    opened.until(lambda: opened.ui.progressBar.value == 500)
    opened.widget.cleanup()
    again = Opened(monkeypatch, scene)
    assert again.ui.inputSelector.currentNode() is not None
    again.ask()
    again.until_over()
    assert again.ui.statusLabel.text.startswith("Answered")
    again.widget.cleanup()
    again.parent.deleteLater()


def test_the_window_lives_while_the_console_waits(opened):
    volume = opened.volume()
    result = opened.widget.logic.process(volume, "Is there a mass?", wait=True)
    assert result.diagnosis == "benign"
    assert result.textNode.GetText().startswith("# Is there a mass?")
    rows = opened.widget.logic.processAll([volume] * 2, "?")
    assert [row.result.diagnosis for row in rows] == ["benign", "benign"]


VOLUME_PART = {
    "mode": "slices",
    "plane": "axial",
    "axis": "k",
    "is_complete": True,
    "slice_range": [0, 2],
    "key_slices": [
        {
            "index": 2,
            "reason": "largest finding",
            "weight": 1.0,
            "diagnosis": "glioma",
            "confidence": 0.6,
            "reasoning": "Bright.",
        }
    ],
    "slices": [],
}


def answer_about_a_volume(opened):
    """Asked slice by slice; the mask is a box."""
    opened.ui.modeComboBox.currentIndex = 1
    mask = np.zeros((3, 20, 24), bool)
    mask[:, 4:9, 5:11] = True
    values = document(volume=VOLUME_PART)
    opened.remote.health_is = dataclasses.replace(HEALTH, modes=["slice", "slices"])
    opened.remote.answer = RemoteAnswer(values, (mask,), None, 0)
    opened.ask()
    opened.until_over()
    assert opened.ui.statusLabel.text.startswith("Answered")


def test_a_volume_is_asked_and_its_slices_are_a_click_away(opened):
    view = opened.scene.slice_view()
    opened.volume()
    answer_about_a_volume(opened)
    assert opened.remote.options.mode == "slices"
    assert "k = 2: glioma 60% (largest finding)" in opened.ui.reportBrowser.plainText
    opened.ui.reportBrowser.anchorClicked.emit(QtCore.QUrl("slice:2"))
    assert view.GetSliceToRAS().GetElement(2, 3) == pytest.approx(2.0)
    opened.ui.reportBrowser.anchorClicked.emit(QtCore.QUrl("https://elsewhere.example"))
    assert not opened.ui.samplesSpinBox.enabled, "the mode cannot do that"


def test_what_is_found_in_a_volume_is_shown_in_3d_if_wanted(opened):
    opened.volume()
    answer_about_a_volume(opened)
    node = opened.scene.mrml.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    segmentation = node.GetSegmentation()
    assert segmentation.ContainsRepresentation("Closed surface")
    assert node.GetDisplayNode().GetVisibility3D()
    opened.ui.surfaceCheckBox.checked = False
    assert not node.GetDisplayNode().GetVisibility3D()


def test_a_slice_is_not_shown_in_3d(opened):
    opened.volume()
    opened.ask()
    opened.until_over()
    node = opened.scene.mrml.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    assert not node.GetSegmentation().ContainsRepresentation("Closed surface")


def test_answers_masks_and_seed_are_the_models_own_unless_chosen(opened):
    opened.volume()
    opened.ask()
    opened.until_over()
    options = opened.remote.options
    assert (options.samples, options.masks, options.seed) == (None, None, None)
    opened.ui.samplesSpinBox.value, opened.ui.masksSpinBox.value = 4, 2
    opened.ui.seedSpinBox.value = 7
    opened.ask()
    opened.until_over()
    options = opened.remote.options
    assert (options.samples, options.masks, options.seed) == (4, 2, 7)


def test_a_region_and_points_are_placed_from_the_panel(opened):
    ui = opened.ui
    assert not ui.roiPlaceWidget.enabled
    node = opened.scene.mrml.AddNode(slicer.vtkMRMLMarkupsROINode())
    ui.roiSelector.setCurrentNode(node)
    assert ui.roiPlaceWidget.enabled and ui.roiPlaceWidget.currentNode() is node
    opened.volume()
    opened.ask()
    assert "no extent" in ui.statusLabel.text
    ui.roiSelector.setCurrentNode(None)
    points = opened.scene.mrml.AddNode(slicer.vtkMRMLMarkupsFiducialNode())
    points.AddControlPointWorld(1.0, 1.0, 1.0)
    ui.positiveSelector.setCurrentNode(points)
    opened.ask()
    opened.until_over()
    assert "on nothing that was found: 1" in ui.reportBrowser.plainText


def test_an_answer_is_discarded_only_after_asking(opened):
    opened.volume()
    before = opened.scene.classes()
    opened.ask()
    opened.until_over()
    after = opened.scene.classes()
    opened.dialogs.says = False
    opened.ui.discardButton.click()
    assert opened.scene.classes() == after
    opened.dialogs.says = True
    opened.ui.discardButton.click()
    left = opened.scene.classes()
    assert left.get("vtkMRMLTextNode", 0) == before.get("vtkMRMLTextNode", 0)
    assert opened.ui.reportBrowser.plainText == ""
    assert not opened.ui.discardButton.enabled and not opened.ui.editButton.enabled


def test_an_export_from_the_panel_holds_a_pdf(opened, tmp_path):
    opened.volume()
    opened.ask()
    opened.until_over()
    opened.dialogs.folder = str(tmp_path)
    opened.ui.exportButton.click()
    assert "No DICOM objects: the volume was not loaded from DICOM files" in (
        opened.ui.statusLabel.text
    )
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    data = (folder / "report.pdf").read_bytes()
    assert data.startswith(b"%PDF") and data.rstrip().endswith(b"%%EOF")
    assert b"/Image" in data, "the picture is in it"


def test_a_model_is_imported_used_and_cleared(opened, tmp_path):
    path = tmp_path / "mine.zip"
    header = b'{"w": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}'
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", '{"lvlm": {}, "segmenter": {}}')
        archive.writestr("model.safetensors", len(header).to_bytes(8, "little") + header + b"x")
    opened.dialogs.file = str(path)
    opened.ui.importModelButton.click()
    opened.until(lambda: "Imported mine" in opened.ui.connectionLabel.text)
    assert opened.parameters.modelSource.endswith("mine")
    opened.dialogs.says = False
    opened.ui.clearModelsButton.click()
    assert "mine" in opened.dialogs.questions[-1]
    assert opened.widget.logic.models.names() == ["mine"]
    opened.dialogs.says = True
    opened.ui.clearModelsButton.click()
    opened.until(lambda: opened.parameters.modelSource == "embedded")
    assert opened.widget.logic.models.names() == []
    path.write_bytes(b"no zip")
    opened.ui.importModelButton.click()
    opened.until(lambda: "no complete zip" in opened.ui.connectionLabel.text)


def test_free_memory_is_shown_when_advanced_is_opened(opened, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert opened.ui.memoryLabel.text == ""
    opened.ui.advancedCollapsibleButton.collapsed = False
    opened.until(lambda: opened.ui.memoryLabel.text != "")
    assert opened.ui.memoryLabel.text == "No NVIDIA graphics card was found."


def test_the_window_lives_while_the_connection_is_tested(opened):
    opened.remote.health_waits = threading.Event()
    opened.ui.testButton.click()
    assert opened.ui.connectionLabel.text == "Waiting for the service"
    application.processEvents()
    opened.remote.health_waits.set()
    opened.until(lambda: "embedded" in opened.ui.connectionLabel.text)
    opened.remote.health_is = Sim4SegError("no valid token; ask the administrator")
    opened.ui.testButton.click()
    opened.until(lambda: "No valid token" in opened.ui.connectionLabel.text)


def test_the_terms_are_known_to_slicer_once_the_module_is_opened(opened):
    assert opened.scene.terminologies.IsTerminologyContextLoaded("Sim4Seg findings")


def test_the_module_says_what_it_is(opened):
    opened.parent.title = ""
    opened.module.Sim4Seg(opened.parent)
    assert opened.parent.categories == ["Segmentation"]
    assert "not a medical device" in opened.parent.helpText
    assert slicer.mrmlScene is opened.scene.mrml


def test_the_code_uses_widgets_only_as_pythonqt_offers_them(opened):
    """Python lets any attribute be set, so that a misspelt property would be silent."""
    written, read = widget_attributes()
    assert ("applyButton", "enabled") in written and ("opacitySlider", "value") in read
    for name, attribute in written:
        widget = getattr(opened.ui, name)
        is_property = widget.metaObject().indexOfProperty(attribute) >= 0
        assert is_property, f"{name} has no property {attribute}"
    for name, attribute in read:
        assert hasattr(getattr(opened.ui, name), attribute), f"{name} has no {attribute}"


def widget_attributes():
    """(widget, attribute) pairs of ui.WIDGET.ATTRIBUTE in the module: written ones, read ones."""
    written, read = set(), set()
    for path in slicer_qt.MODULE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
                owner = node.value.value
                if getattr(owner, "attr", getattr(owner, "id", None)) == "ui":
                    kind = written if isinstance(node.ctx, ast.Store) else read
                    kind.add((node.value.attr, node.attr))
    return written, read


def shown(combo):
    return [combo.itemText(number) for number in range(combo.count)]
