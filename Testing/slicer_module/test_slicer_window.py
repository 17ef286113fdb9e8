"""What the module does with Slicer's window: views, keys, settings, reloading."""

import importlib
import sys
import types

import opened_panel
import pytest
import slicer_qt
from mrml_scene import slicer
from PySide6 import QtCore, QtTest

slicer_qt.with_properties(__name__)
opened = opened_panel.opened
CONTROL = QtCore.Qt.KeyboardModifier.ControlModifier
KEYPAD = QtCore.Qt.KeyboardModifier.KeypadModifier


class LayoutManager:
    """Slice views, of which the layout shows some."""

    def __init__(self, scene, shown):
        self._nodes = {name: scene.slice_view(name=name) for name in ("Yellow", "Green", "Red")}
        for name, node in self._nodes.items():
            node.SetMappedInLayout(name in shown)

    def sliceViewNames(self):
        return tuple(self._nodes)

    def sliceWidget(self, name):
        return types.SimpleNamespace(mrmlSliceNode=lambda: self._nodes[name])


@pytest.mark.parametrize(
    ("shown", "expected"),
    [(["Red", "Green", "Yellow"], "Red"), (["Green"], "Green"), ([], None)],
    ids=["four-up", "green only", "3D only"],
)
def test_the_slice_that_is_asked_about_is_one_that_is_shown(
    monkeypatch, scene, tmp_path, shown, expected
):
    slicer_qt.install(monkeypatch, scene, tmp_path)
    monkeypatch.delitem(sys.modules, "Sim4SegLib.qt_parts", raising=False)
    slicer.app.layoutManager = lambda: LayoutManager(scene, shown)
    node = importlib.import_module("Sim4SegLib.qt_parts").Application().slice_node()
    assert (node and node.GetLayoutName()) == expected


@pytest.mark.parametrize(
    ("key", "modifiers"),
    [(QtCore.Qt.Key.Key_Return, CONTROL), (QtCore.Qt.Key.Key_Enter, CONTROL | KEYPAD)],
    ids=["Return", "Enter of the keypad"],
)
def test_ctrl_enter_asks(opened, key, modifiers):
    opened.volume()
    opened.parent.show()
    opened.parent.activateWindow()
    assert QtTest.QTest.qWaitForWindowActive(opened.parent)
    box = opened.ui.queryTextEdit
    box.setFocus()
    QtTest.QTest.keyClicks(box, "Is there a mass?")
    QtTest.QTest.keyClick(box, key, modifiers)
    opened.until_over()
    assert opened.remote.asked == ["Is there a mass?"]
    assert box.plainText == "Is there a mass?"


def test_recent_queries_are_offered_after_a_restart(monkeypatch, opened, scene):
    opened.volume()
    for query in ("Is there a cyst?", "Ist da ein Tümör?", "Is there a cyst?"):
        opened.ask(query)
        opened.until_over()
    again = opened_panel.Opened(monkeypatch, scene)
    box = again.ui.exampleComboBox
    assert [box.itemText(1), box.itemText(2)] == ["Is there a cyst?", "Ist da ein Tümör?"]
    box.currentIndex = 2
    box.activated.emit(2)
    assert again.parameters.query == "Ist da ein Tümör?"
    again.widget.cleanup()
    again.parent.deleteLater()


def test_the_mode_is_kept_in_the_scene(monkeypatch, opened, scene):
    opened.ui.modeComboBox.currentIndex = 2
    assert opened.parameters.mode == "volume"
    opened.widget.exit()
    opened.ui.modeComboBox.currentIndex = 0
    opened.widget.enter()
    assert opened.ui.modeComboBox.currentText == "Volume, in three dimensions"
    again = opened_panel.Opened(monkeypatch, scene)
    assert again.ui.modeComboBox.currentText == "Volume, in three dimensions"
    again.widget.cleanup()
    again.parent.deleteLater()


@pytest.mark.parametrize(
    ("button", "parameter"),
    [
        ("modelBrowseButton", "modelSource"),
        ("certificateBrowseButton", "certificateFile"),
        ("datasetBrowseButton", "datasetFolder"),
    ],
)
def test_paths_can_be_chosen(opened, button, parameter):
    getattr(opened.ui, button).click()
    assert "/" not in getattr(opened.parameters, parameter), "thought better of it"
    opened.dialogs.folder = opened.dialogs.file = "/data/chosen"
    getattr(opened.ui, button).click()
    assert getattr(opened.parameters, parameter) == "/data/chosen"


def test_reload_reads_the_whole_module_anew(opened, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("Sim4SegLib")]:
        # Other tests go on with what they have imported.
        monkeypatch.setitem(sys.modules, name, sys.modules[name])
    opened.volume()
    before = sys.modules["Sim4SegLib.panel"], sys.modules["Sim4SegLib.reports"]
    opened.widget.onReload()
    after = sys.modules["Sim4SegLib.panel"], sys.modules["Sim4SegLib.reports"]
    widget = slicer.modules.Sim4SegWidget
    try:
        assert after[0] is not before[0] and after[1] is not before[1]
        assert isinstance(widget.panel, after[0].Panel)
        assert widget.ui.inputSelector.currentNode() is not None
    finally:
        widget.cleanup()
