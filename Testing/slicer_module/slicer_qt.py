"""Slicer's Python world without Slicer: real Qt widgets, real MRML, strict stand-ins for the rest.

PySide6 with true properties looks as PythonQt does: `w.text` is a value and `w.isEnabled` does not
exist. What is missing here is missing in Slicer, or has to be added with its behaviour there.
"""

import json
import os
import sys
import types
import typing
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from mrml_scene import slicer

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
REASON = "PySide6 cannot be imported; it may need the system's libEGL and libGL"
QtWidgets = pytest.importorskip("PySide6.QtWidgets", reason=REASON, exc_type=ImportError)
QtUiTools = pytest.importorskip("PySide6.QtUiTools", reason=REASON, exc_type=ImportError)
from PySide6 import QtCore, QtGui  # noqa: E402
from shibokensupport import feature  # noqa: E402

MODULE = Path(__file__).resolve().parents[2] / "Sim4SegSlicer"
TRUE_PROPERTY = 2
# Else PySide reads the source of every module there is, which some of torch's answer with an error.
feature._mod_uses_pyside = lambda module: False
for name in ("Sim4Seg", "Sim4SegLib.panel", "Sim4SegLib.qt_parts", __name__):
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


class qMRMLNodeComboBox(QtWidgets.QWidget):
    """Chooses a node of the scene; without a scene it chooses nothing, as in Slicer."""

    currentNodeChanged = QtCore.Signal(object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene = None
        self._node = None
        self._types = []
        self._attributes = []
        self._box = QtWidgets.QComboBox(self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.contentsMargins = QtCore.QMargins(0, 0, 0, 0)
        layout.addWidget(self._box)

    def setMRMLScene(self, scene):
        self._scene = scene

    def addAttribute(self, node_type, attribute):
        assert node_type in self._types, f"{node_type} is not shown by this widget"
        self._attributes.append(attribute)

    def currentNode(self):
        return self._node

    def setCurrentNode(self, node):
        assert node is None or self._scene is not None, "no scene: is the .ui's connection there?"
        if node is self._node:
            return
        assert node is None or any(node.IsA(each) for each in self._types), "not of this type"
        self._node = node
        self._box.clear()
        self._box.addItem("" if node is None else node.GetName())
        self.currentNodeChanged.emit(node)

    nodeTypes = QtCore.Property(
        "QStringList", lambda self: self._types, lambda self, value: setattr(self, "_types", value)
    )


for each in (
    "showChildNodeTypes",
    "addEnabled",
    "removeEnabled",
    "renameEnabled",
    "noneEnabled",
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


class Choice:
    def __init__(self, choices):
        self.choices = choices


class WithinRange:
    def __init__(self, minimum, maximum):
        self.minimum, self.maximum = minimum, maximum


def parameterNodeWrapper(kind):
    """slicer.parameterNodeWrapper for text, numbers, switches and references to nodes."""
    hints = typing.get_type_hints(kind, include_extras=True)
    assert (
        "from __future__ import annotations"
        not in Path(sys.modules[kind.__module__].__file__).read_text()
    ), "the wrapper of Slicer cannot read postponed annotations"
    made = type(kind.__name__, (_ParameterNode,), {"_fields": {}})
    for each, hint in hints.items():
        made._fields[each] = (hint, getattr(kind, each, None))
        setattr(made, each, _field(each, hint, getattr(kind, each, None)))
    return made


def _plain(hint):
    return typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint


def _field(name, hint, default):
    kind = _plain(hint)
    is_node = issubclass(kind, slicer.vtkMRMLNode)

    def read(self):
        if is_node:
            return self.parameterNode.GetNodeReference(name)
        text = self.parameterNode.GetParameter(name)
        return json.loads(text) if text else default

    def write(self, value):
        if is_node:
            assert value is None or isinstance(value, kind), f"{name} takes a {kind.__name__}"
            self.parameterNode.SetNodeReferenceID(name, None if value is None else value.GetID())
        else:
            assert type(value) is kind, f"{name} takes {kind.__name__}, got {value!r}"
            self.parameterNode.SetParameter(name, json.dumps(value))
        self._show(name)

    return property(read, write)


class _ParameterNode:
    _fields: typing.ClassVar = {}

    def __init__(self, node):
        self.parameterNode = node
        self._bound = {}

    def connectGui(self, ui):
        for widget in vars(ui).values():
            name = widget.property("SlicerParameterName")
            if name:
                assert name in self._fields, f"the .ui names an unknown parameter {name}"
                self._bind(name, widget)
        return 1

    def disconnectGui(self, tag):
        assert tag == 1
        for signal, slot in self._bound.values():
            signal.disconnect(slot)
        self._bound = {}

    def _bind(self, name, widget):
        hint, _ = self._fields[name]
        self._prepare(widget, hint)
        read, self_write, signal = _access(widget)

        def changed(*_):
            if read() != getattr(self, name):
                setattr(self, name, read())

        self_write(getattr(self, name))
        signal.connect(changed)
        self._bound[name] = (signal, changed)
        changed.widget_write = self_write

    @staticmethod
    def _prepare(widget, hint):
        extras = typing.get_args(hint)[1:]
        if type(widget) is QtWidgets.QComboBox:
            (choice,) = (extra for extra in extras if isinstance(extra, Choice))
            widget.clear()
            widget.addItems(choice.choices)
        if type(widget) is QtWidgets.QSpinBox:
            (bounds,) = (extra for extra in extras if isinstance(extra, WithinRange))
            widget.setRange(bounds.minimum, bounds.maximum)
        if type(widget) is ctkSliderWidget:
            (bounds,) = (extra for extra in extras if isinstance(extra, WithinRange))
            widget.minimum, widget.maximum = float(bounds.minimum), float(bounds.maximum)

    def _show(self, name):
        if name in self._bound:
            self._bound[name][1].widget_write(getattr(self, name))


def _access(widget):
    """(read, write, signal of changes) of the widgets that Slicer's wrapper knows."""
    kind = type(widget)
    if kind is QtWidgets.QLineEdit:
        return _of(widget, "text", widget.textChanged)
    if kind is QtWidgets.QTextEdit:
        return _of(widget, "plainText", widget.textChanged)
    if kind is QtWidgets.QCheckBox:
        return _of(widget, "checked", widget.toggled)
    if kind is QtWidgets.QComboBox:
        return _of(widget, "currentText", widget.currentIndexChanged)
    if kind in (ctkSliderWidget, QtWidgets.QSpinBox):
        return _of(widget, "value", widget.valueChanged)
    if kind is qMRMLNodeComboBox:
        return widget.currentNode, widget.setCurrentNode, widget.currentNodeChanged
    raise AssertionError(f"Slicer's wrapper cannot bind a {kind.__name__}")


def _of(widget, name, signal):
    def write(value):
        # As in Qt: setting the same text moves no cursor.
        if getattr(widget, name) != value:
            setattr(widget, name, value)

    return lambda: getattr(widget, name), write, signal


class ScriptedLoadableModule:
    def __init__(self, parent):
        self.parent = parent


class ScriptedLoadableModuleWidget:
    def __init__(self, parent=None):
        self.parent = parent
        self.layout = parent.layout()

    def setup(self):
        pass

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
    monkeypatch.setitem(sys.modules, "qt", qt_module())
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
