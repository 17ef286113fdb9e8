"""slicer.parameterNodeWrapper without Slicer, for text, numbers, switches and references to nodes.

It keeps those habits of Slicer's own that a module has to live with: values are cached until the
node is modified, and each change of any parameter writes all widgets that are bound.
"""

import json
import sys
import types
import typing
import weakref
from pathlib import Path

import vtk
from mrml_scene import slicer
from shibokensupport import feature

TRUE_PROPERTY = 2
# Else PySide reads the source of every module there is, which some of torch's answer with an error.
feature._mod_uses_pyside = lambda module: False
feature.set_selection(TRUE_PROPERTY, __name__)


class Choice:
    def __init__(self, choices):
        self.choices = choices

    def validate(self, value):
        assert value in self.choices, f"{value!r} is none of {self.choices}"


class WithinRange:
    def __init__(self, minimum, maximum):
        self.minimum, self.maximum = minimum, maximum

    def validate(self, value):
        assert self.minimum <= value <= self.maximum, f"{value} is out of range"


def parameterNodeWrapper(kind):
    """The class that Slicer makes of one with annotations."""
    assert (
        "from __future__ import annotations"
        not in Path(sys.modules[kind.__module__].__file__).read_text()
    ), "the wrapper of Slicer cannot read postponed annotations"
    made = type(kind.__name__, (_Wrapper,), {"_fields": {}})
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        made._fields[name] = _Field(name, hint, getattr(kind, name, None))
        setattr(made, name, _property(name))
    return made


def _property(name):
    return property(lambda self: self._values[name], lambda self, value: self.setValue(name, value))


class _Field:
    """One parameter: how it is kept in the node."""

    def __init__(self, name, hint, default):
        self.name, self.default = name, default
        is_annotated = typing.get_origin(hint) is typing.Annotated
        plain, *self.extras = typing.get_args(hint) if is_annotated else (hint,)
        self.is_union = typing.get_origin(plain) in (typing.Union, types.UnionType)
        self.kinds = typing.get_args(plain) if self.is_union else (plain,)
        self.is_node = issubclass(self.kinds[0], slicer.vtkMRMLNode)
        assert self.is_node or not self.is_union, "unions are made of nodes here"

    @property
    def node_types(self):
        return [kind.__name__ for kind in self.kinds if kind is not type(None)]

    def extra(self, kind):
        (found,) = (each for each in self.extras if isinstance(each, kind))
        return found

    def _key(self, index):
        return f"{self.name}.{index}" if self.is_union else self.name

    def is_in(self, node):
        return any(node.HasParameter(self._key(index)) for index in range(len(self.kinds)))

    def read(self, node):
        if not self.is_node:
            return json.loads(node.GetParameter(self.name))
        for index, kind in enumerate(self.kinds):
            if node.HasParameter(self._key(index)) and kind is not type(None):
                return node.GetNodeReference(self._key(index))
        return None

    def write(self, node, value):
        if not self.is_node:
            assert type(value) is self.kinds[0], f"{self.name} got {value!r}"
            for extra in self.extras:
                extra.validate(value)
            node.SetParameter(self.name, json.dumps(value))
            return
        index = self._index_for(value)
        for number in range(len(self.kinds)) if self.is_union else ():
            node.UnsetParameter(self._key(number))
            node.RemoveNodeReferenceIDs(self._key(number))
        node.SetParameter(self._key(index), "")
        node.SetNodeReferenceID(self._key(index), None if value is None else value.GetID())

    def _index_for(self, value):
        if value is None and not self.is_union:
            return 0
        for index, kind in enumerate(self.kinds):
            if isinstance(value, kind):
                return index
        raise AssertionError(f"{self.name} does not take {value!r}")


class _Wrapper:
    """Parameters of one node, cached, and the widgets that are bound to them."""

    _fields: typing.ClassVar = {}

    def __init__(self, node):
        self.parameterNode = node
        self._values = {}
        self._guis = {}
        self._is_updating = False
        for name, field in self._fields.items():
            if not field.is_in(node):
                field.write(node, field.default)
            self._values[name] = field.read(node)
        # Weakly, as in Slicer: else the observer would keep its own node alive.
        weak = weakref.WeakMethod(self._modified)
        self._tag = self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: weak()())

    def __del__(self):
        self.RemoveObserver(self._tag)

    def AddObserver(self, event, callback, priority=0.0):
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag):
        self.parameterNode.RemoveObserver(tag)

    def StartModify(self):
        return self.parameterNode.StartModify()

    def EndModify(self, was_modified):
        self.parameterNode.EndModify(was_modified)

    def setValue(self, name, value):
        with slicer.util.NodeModify(self.parameterNode):
            self._fields[name].write(self.parameterNode, value)
            self._values[name] = self._fields[name].read(self.parameterNode)

    def connectGui(self, ui):
        bound = []
        for widget in vars(ui).values():
            name = widget.property("SlicerParameterName")
            if name:
                assert name in self._fields, f"the .ui names an unknown parameter {name}"
                bound.append((name, _connector(widget, self._fields[name])))
        for name, connector in bound:
            connector.write(self._values[name])
            connector.connect(self._callback(name, connector))
        tag = len(self._guis)
        self._guis[tag] = bound
        return tag

    def disconnectGui(self, tag):
        for _, connector in self._guis.pop(tag):
            connector.disconnect()

    def _callback(self, name, connector):
        def changed(*_):
            with slicer.util.NodeModify(self):
                if not self._is_updating:
                    self.setValue(name, connector.read())

        return changed

    def _modified(self):
        self._values = {
            name: field.read(self.parameterNode) for name, field in self._fields.items()
        }
        self._write_widgets()

    def _write_widgets(self):
        if self._is_updating:
            return
        self._is_updating = True
        try:
            with slicer.util.NodeModify(self):
                for bound in self._guis.values():
                    for name, connector in bound:
                        connector.write(self._values[name])
        finally:
            self._is_updating = False


class _Connector:
    """A widget's value."""

    def __init__(self, signal, read, write):
        self._signal, self.read, self.write = signal, read, write
        self._slot = None

    def connect(self, slot):
        self._slot = slot
        self._signal.connect(slot)

    def disconnect(self):
        self._signal.disconnect(self._slot)


def _connector(widget, field):
    """As the first of Slicer's GuiConnectors that can represent the widget."""
    kind = type(widget).__name__
    made = _CONNECTORS.get((kind, "vtkMRMLNode" if field.is_node else field.kinds[0].__name__))
    assert made is not None, f"Slicer's wrapper cannot bind {field.name} to a {kind}"
    return made(widget, field)


def _check_box(widget, field):
    return _Connector(widget.stateChanged, lambda: widget.checked, _setter(widget, "checked"))


def _spin_box(widget, field):
    bounds = field.extra(WithinRange)
    widget.setRange(bounds.minimum, bounds.maximum)
    return _Connector(widget.valueChanged, lambda: widget.value, _setter(widget, "value"))


def _slider(widget, field):
    bounds = field.extra(WithinRange)
    widget.minimum, widget.maximum = float(bounds.minimum), float(bounds.maximum)
    return _Connector(widget.valueChanged, lambda: widget.value, _setter(widget, "value"))


def _combo_box(widget, field):
    choices = field.extra(Choice).choices
    widget.clear()
    widget.addItems([str(each) for each in choices])

    def write(value):
        widget.currentIndex = choices.index(value)

    return _Connector(widget.currentIndexChanged, lambda: choices[widget.currentIndex], write)


def _line_edit(widget, field):
    def write(value):
        if value != widget.text:
            widget.text = value

    return _Connector(widget.textChanged, lambda: widget.text, write)


def _text_edit(widget, field):
    # Written even if it is the same, which takes the cursor to the beginning.
    return _Connector(widget.textChanged, lambda: widget.plainText, _setter(widget, "plainText"))


def _node_box(widget, field):
    widget.nodeTypes = field.node_types
    return _Connector(widget.currentNodeChanged, widget.currentNode, widget.setCurrentNode)


def _setter(widget, name):
    return lambda value: setattr(widget, name, value)


_CONNECTORS = {
    ("QCheckBox", "bool"): _check_box,
    ("QSpinBox", "int"): _spin_box,
    ("ctkSliderWidget", "float"): _slider,
    ("QComboBox", "str"): _combo_box,
    ("QLineEdit", "str"): _line_edit,
    ("QTextEdit", "str"): _text_edit,
    ("qMRMLNodeComboBox", "vtkMRMLNode"): _node_box,
}
