"""Widgets and parameters kept the same where Slicer's own binding cannot. Qt and MRML."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import vtk


class Bound:
    """One widget and one parameter.

    Slicer writes every bound widget at each change of any parameter, which takes a text's cursor
    back to the beginning, and it fills a combo box with the values that the annotation lists.
    """

    def __init__(self, name: str, read: Callable[[], Any], write: Callable[[Any], None]) -> None:
        """
        Args:
            name: of the parameter.
            read, write: the widget's value.
        """
        self._name = name
        self._read = read
        self._write = write
        self._parameters: Any = None
        self._tag = 0

    def bind(self, parameters: Any) -> None:
        """Follow parameters and show them; None follows none."""
        if self._parameters is not None:
            self._parameters.RemoveObserver(self._tag)
        self._parameters = parameters
        if parameters is not None:
            event = vtk.vtkCommand.ModifiedEvent
            self._tag = parameters.AddObserver(event, lambda *_: self._show())
            self._show()

    def take(self) -> None:
        """Keep what the user has put into the widget."""
        if self._parameters is not None and self._read() != self._kept():
            setattr(self._parameters, self._name, self._read())

    def _show(self) -> None:
        if self._read() != self._kept():
            self._write(self._kept())

    def _kept(self) -> Any:
        return getattr(self._parameters, self._name)
