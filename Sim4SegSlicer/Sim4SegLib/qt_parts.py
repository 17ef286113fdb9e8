"""What the panel needs of Qt and of Slicer's windows, apart, so that tests can replace it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer


class QtTicker:
    """A timer on the main thread; see `queries.Ticker`."""

    def __init__(self) -> None:
        self._timer = qt.QTimer()
        self._callback: Callable[[], None] | None = None
        self._timer.timeout.connect(self._tick)

    def start(self, callback: Callable[[], None], interval_ms: int) -> None:
        """Call a function again and again."""
        self._callback = callback
        self._timer.start(interval_ms)

    def stop(self) -> None:
        """Call nothing any more."""
        self._timer.stop()
        self._callback = None

    def _tick(self) -> None:
        if self._callback is not None:
            self._callback()


class Dialogs:
    """Questions and messages in windows."""

    def agrees(self, question: str) -> bool:
        """Whether the user says OK."""
        return bool(slicer.util.confirmOkCancelDisplay(question, windowTitle="Sim4Seg"))

    def choose_folder(self, caption: str) -> str:
        """A folder, empty if the user thinks better of it."""
        return str(qt.QFileDialog.getExistingDirectory(None, caption) or "")


class Application:
    """What the panel asks of Slicer's main window."""

    def slice_node(self) -> Any:
        """The slice view that is looked at: the red one, where the layout has it."""
        view = slicer.app.layoutManager().sliceWidget("Red")
        return None if view is None else view.mrmlSliceNode()

    def show_volume(self, volume_node: Any) -> None:
        """In all slice views."""
        slicer.util.setSliceViewerLayers(background=volume_node, fit=True)

    def edit_segments(self, segmentation_node: Any, volume_node: Any) -> None:
        """Open the Segment Editor."""
        slicer.util.selectModule("SegmentEditor")
        editor = slicer.util.getModuleWidget("SegmentEditor").editor
        editor.setSegmentationNode(segmentation_node)
        editor.setSourceVolumeNode(volume_node)

    def process_events(self) -> None:
        """Let the window live."""
        slicer.app.processEvents()
