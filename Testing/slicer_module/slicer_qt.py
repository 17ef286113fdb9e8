"""Slicer's Python world without Slicer: real Qt widgets, real MRML, strict stand-ins for the rest.

PySide6 with true properties looks as PythonQt does: `w.text` is a value and `w.isEnabled` does not
exist. What is missing here is missing in Slicer, or has to be added with its behaviour there.
"""

import importlib.util
import os
import sys
import types
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from mrml_scene import slicer, vtk

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
REASON = "PySide6 cannot be imported; it may need the system's libEGL and libGL"
QtWidgets = pytest.importorskip("PySide6.QtWidgets", reason=REASON, exc_type=ImportError)
QtUiTools = pytest.importorskip("PySide6.QtUiTools", reason=REASON, exc_type=ImportError)
from PySide6 import QtCore, QtGui  # noqa: E402
from shibokensupport import feature  # noqa: E402
from slicer_parameters import Choice, WithinRange, parameterNodeWrapper  # noqa: E402

MODULE = Path(__file__).resolve().parents[2] / "Sim4SegSlicer"
TRUE_PROPERTY = 2
# Else PySide reads the source of every module there is, which some of torch's answer with an error.
feature._mod_uses_pyside = lambda module: False
LIBRARY = [f"Sim4SegLib.{path.stem}" for path in (MODULE / "Sim4SegLib").glob("*.py")]
for name in ("Sim4Seg", *LIBRARY, __name__):
    feature.set_selection(TRUE_PROPERTY, name)

application = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])


def with_properties(module_name):
    """Let a test module use widgets as PythonQt offers them."""
    feature.set_selection(TRUE_PROPERTY, module_name)


def qt_module():
    """`import qt`: Qt's classes in one module."""
    qt = types.ModuleType("qt")
    for part in (QtCore, QtGui, QtWidgets):
        for each in dir(part):
            if each.startswith("Q"):
                setattr(qt, each, getattr(part, each))
    return qt


class qMRMLWidget(QtWidgets.QWidget):
    """Hands its scene to the widgets that the .ui connects."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self.receivers = []

    def setMRMLScene(self, scene):
        for receiver in self.receivers:
            receiver.setMRMLScene(scene)


class ctkCollapsibleButton(QtWidgets.QGroupBox):
    """A group with a title."""

    contentsCollapsed = QtCore.Signal(bool)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._collapsed = False

    def _get_text(self):
        return self.title

    def _set_text(self, text):
        self.title = text

    def _get_collapsed(self):
        return self._collapsed

    def _set_collapsed(self, collapsed):
        if collapsed != self._collapsed:
            self._collapsed = collapsed
            self.contentsCollapsed.emit(collapsed)
        for child in self.findChildren(QtWidgets.QWidget):
            if child.parentWidget() is self:
                child.visible = not collapsed

    text = QtCore.Property(str, _get_text, _set_text)
    collapsed = QtCore.Property(bool, _get_collapsed, _set_collapsed)


class ctkSliderWidget(QtWidgets.QWidget):
    """A slider with a number."""

    valueChanged = QtCore.Signal(float)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal, self)
        self._box = QtWidgets.QDoubleSpinBox(self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.contentsMargins = QtCore.QMargins(0, 0, 0, 0)
        layout.addWidget(self._slider)
        layout.addWidget(self._box)
        self._slider.valueChanged.connect(lambda value: self._set_value(float(value)))
        self._box.valueChanged.connect(self._changed)

    def _changed(self, value):
        self._slider.value = round(value)
        self.valueChanged.emit(value)

    def _get_value(self):
        return self._box.value

    def _set_value(self, value):
        self._box.value = value

    def _set_minimum(self, value):
        self._box.minimum = value
        self._slider.minimum = round(value)

    def _set_maximum(self, value):
        self._box.maximum = value
        self._slider.maximum = round(value)

    def _set_decimals(self, value):
        self._box.decimals = value

    def _set_suffix(self, value):
        self._box.suffix = value

    def _set_step(self, value):
        self._box.singleStep = value

    value = QtCore.Property(float, _get_value, _set_value)
    minimum = QtCore.Property(float, lambda self: self._box.minimum, _set_minimum)
    maximum = QtCore.Property(float, lambda self: self._box.maximum, _set_maximum)
    decimals = QtCore.Property(int, lambda self: self._box.decimals, _set_decimals)
    suffix = QtCore.Property(str, lambda self: self._box.suffix, _set_suffix)
    singleStep = QtCore.Property(float, lambda self: self._box.singleStep, _set_step)


class qMRMLSortFilterProxyModel(QtCore.QObject):
    """Which nodes of the scene a combo box offers."""

    def __init__(self, parent):
        super().__init__(parent)
        self.nodeTypes = []
        self.showChildNodeTypes = True
        self.attributes = []
        self._hidden = []

    def accepts(self, node):
        if node.GetID() in self._hidden or node.GetHideFromEditors():
            return False
        for each in self.nodeTypes:
            if node.IsA(each) and (self.showChildNodeTypes or node.GetClassName() == each):
                named = [name for kind, name in self.attributes if kind == each]
                return all(node.GetAttribute(name) is not None for name in named)
        return False

    def _set_hidden(self, identities):
        self._hidden = identities
        self.parent().show_rows()

    hiddenNodeIDs = QtCore.Property("QStringList", lambda self: self._hidden, _set_hidden)


class qMRMLNodeComboBox(QtWidgets.QWidget):
    """Chooses a node of the scene; without a scene it chooses nothing, as in Slicer."""

    currentNodeChanged = QtCore.Signal(object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene = None
        self._node = None
        self._has_none = False
        self._filter = qMRMLSortFilterProxyModel(self)
        self._box = QtWidgets.QComboBox(self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.contentsMargins = QtCore.QMargins(0, 0, 0, 0)
        layout.addWidget(self._box)

    def setMRMLScene(self, scene):
        self._scene = scene
        tags = [
            scene.AddObserver(scene.NodeAddedEvent, self._added),
            scene.AddObserver(scene.NodeAboutToBeRemovedEvent, self._removed),
        ]
        self.destroyed.connect(lambda *_: [scene.RemoveObserver(tag) for tag in tags])

    def sortFilterProxyModel(self):
        return self._filter

    def addAttribute(self, node_type, attribute):
        assert node_type in self.nodeTypes, f"{node_type} is not shown by this widget"
        self._filter.attributes.append((node_type, attribute))

    def nodeCount(self):
        return len(self._nodes())

    def nodeFromIndex(self, index):
        return self._nodes()[index]

    def currentNode(self):
        return self._node

    def setCurrentNode(self, node):
        """A node that is not offered is no choice: none is chosen."""
        assert node is None or self._scene is not None, "no scene: is the .ui's connection there?"
        self._choose(node if node is not None and self._filter.accepts(node) else None)

    def show_rows(self):
        self.setCurrentNode(self._node)

    def _nodes(self):
        nodes = [] if self._scene is None else self._scene.GetNodes()
        return [node for node in nodes if self._filter.accepts(node)]

    def _choose(self, node):
        if node is not self._node:
            self._node = node
            self._box.clear()
            self._box.addItem("" if node is None else node.GetName())
            self.currentNodeChanged.emit(node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _added(self, scene, event, node):
        """Qt chooses the first row that a combo box gets."""
        if not self._has_none and self._nodes() == [node]:
            self._choose(node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _removed(self, scene, event, node):
        """Qt goes to the row before."""
        if node is self._node:
            rows = [None] * self._has_none + self._nodes()
            index = rows.index(node) if node in rows else 0
            rest = [row for row in rows if row is not node]
            is_closing = scene.IsClosing() or not rest
            self._choose(None if is_closing else rest[max(0, index - 1)])

    def _set_types(self, kinds):
        self._filter.nodeTypes = list(kinds)
        self.show_rows()

    def _set_children(self, shown):
        self._filter.showChildNodeTypes = shown

    def _set_none(self, has_none):
        self._has_none = has_none

    nodeTypes = QtCore.Property("QStringList", lambda self: self._filter.nodeTypes, _set_types)
    showChildNodeTypes = QtCore.Property(
        bool, lambda self: self._filter.showChildNodeTypes, _set_children
    )
    noneEnabled = QtCore.Property(bool, lambda self: self._has_none, _set_none)


for each in (
    "addEnabled",
    "removeEnabled",
    "renameEnabled",
    "baseName",
):
    setattr(qMRMLNodeComboBox, each, None)


class qSlicerMarkupsPlaceWidget(QtWidgets.QWidget):
    """Places points into a node."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene = None
        self._node = None
        button = QtWidgets.QToolButton(self)
        button.text = "+"
        layout = QtWidgets.QHBoxLayout(self)
        layout.contentsMargins = QtCore.QMargins(0, 0, 0, 0)
        layout.addWidget(button)

    def setMRMLScene(self, scene):
        self._scene = scene

    def currentNode(self):
        return self._node

    def setCurrentNode(self, node):
        assert node is None or node.IsA("vtkMRMLMarkupsNode")
        assert node is None or self._scene is not None, "no scene: is the .ui's connection there?"
        self._node = node


class _Loader(QtUiTools.QUiLoader):
    def __init__(self):
        super().__init__()
        for kind in (
            qMRMLWidget,
            ctkCollapsibleButton,
            ctkSliderWidget,
            qMRMLNodeComboBox,
            qSlicerMarkupsPlaceWidget,
        ):
            self.registerCustomWidget(kind)


def load_ui(path):
    """slicer.util.loadUI: the widgets, with the scene's connections of the .ui."""
    file = QtCore.QFile(str(path))
    assert file.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
    root = _Loader().load(file)
    file.close()
    for connection in ElementTree.parse(path).getroot().iter("connection"):
        assert connection.findtext("signal") == "mrmlSceneChanged(vtkMRMLScene*)"
        receiver = root.findChild(QtWidgets.QWidget, connection.findtext("receiver"))
        root.receivers.append(receiver)
    return root


def child_widget_variables(root):
    """slicer.util.childWidgetVariables."""
    variables = types.SimpleNamespace()
    for widget in [root, *root.findChildren(QtWidgets.QWidget)]:
        if widget.objectName and not widget.objectName.startswith("qt_"):
            setattr(variables, widget.objectName, widget)
    return variables


class ScriptedLoadableModule:
    def __init__(self, parent):
        self.parent = parent


class ScriptedLoadableModuleWidget:
    def __init__(self, parent=None):
        self.parent = parent
        self.layout = parent.layout()

    def setup(self):
        pass

    def onReload(self):
        """slicer.util.reloadScriptedModule: the file anew, then the widget anew."""
        name = type(self).__name__.removesuffix("Widget")
        spec = importlib.util.spec_from_file_location(name, MODULE / f"{name}.py")
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.cleanup()
        while self.layout.count():
            self.layout.takeAt(0)
        widget = vars(module)[type(self).__name__](self.parent)
        widget.setup()
        setattr(slicer.modules, type(self).__name__, widget)

    def resourcePath(self, name):
        return str(MODULE / "Resources" / name)


class ScriptedLoadableModuleLogic:
    def getParameterNode(self):
        node = slicer.mrmlScene.GetSingletonNode("Sim4Seg", "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.vtkMRMLScriptedModuleNode()
            node.SetSingletonTag("Sim4Seg")
            node = slicer.mrmlScene.AddNode(node)
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    pass


class Module(QtWidgets.QWidget):
    """What Slicer puts the panel into."""

    isEntered = True

    def __init__(self):
        super().__init__()
        QtWidgets.QVBoxLayout(self)


def install(monkeypatch, scene, settings_folder):
    """Make `import qt`, `slicer.util` and the like what they are in Slicer."""
    app = types.SimpleNamespace(slicerUserSettingsFilePath=str(settings_folder / "Slicer.ini"))
    monkeypatch.setattr(slicer, "app", app, raising=False)
    qt = qt_module()
    ini = QtCore.QSettings.Format.IniFormat
    qt.QSettings = lambda: QtCore.QSettings(app.slicerUserSettingsFilePath, ini)
    monkeypatch.setitem(sys.modules, "qt", qt)
    for name, members in {
        "slicer.i18n": {"tr": lambda text: text, "translate": lambda context, text: text},
        "slicer.parameterNodeWrapper": {
            "Choice": Choice,
            "WithinRange": WithinRange,
            "parameterNodeWrapper": parameterNodeWrapper,
        },
        "slicer.ScriptedLoadableModule": {
            each.__name__: each
            for each in (
                ScriptedLoadableModule,
                ScriptedLoadableModuleLogic,
                ScriptedLoadableModuleTest,
                ScriptedLoadableModuleWidget,
            )
        },
    }.items():
        module = types.ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(slicer.util, "loadUI", load_ui)
    monkeypatch.setattr(slicer.util, "childWidgetVariables", child_widget_variables)
    slicer.modules.terminologies = types.SimpleNamespace(logic=lambda: scene.terminologies)
