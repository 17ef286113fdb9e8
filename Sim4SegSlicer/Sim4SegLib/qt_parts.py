"""What the panel needs of Qt and of Slicer's windows, apart, so that tests can replace it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer

from Sim4SegCore.errors import Sim4SegError

_PDF_DPI = 96


class QtTicker:
    """A timer on the main thread; see `queries.Ticker`."""

    def __init__(self, changed: Callable[[], None] | None = None) -> None:
        """
        Args:
            changed: called after it was started or stopped.
        """
        self._timer = qt.QTimer()
        self._changed = changed
        self._callback: Callable[[], None] | None = None
        self._timer.timeout.connect(self._tick)

    def start(self, callback: Callable[[], None], interval_ms: int) -> None:
        """Call a function again and again."""
        self._callback = callback
        self._timer.start(interval_ms)
        self._tell()

    def stop(self) -> None:
        """Call nothing any more."""
        self._timer.stop()
        self._callback = None
        self._tell()

    def _tick(self) -> None:
        if self._callback is not None:
            self._callback()

    def _tell(self) -> None:
        if self._changed is not None:
            self._changed()


class Settings:
    """Slicer's own settings, which outlive it."""

    def read(self, key: str) -> str:
        """Empty if there is nothing."""
        return str(qt.QSettings().value(key) or "")

    def write(self, key: str, text: str) -> None:
        """Keep it until it is written again."""
        qt.QSettings().setValue(key, text)


class Dialogs:
    """Questions and messages in windows."""

    def agrees(self, question: str) -> bool:
        """Whether the user says OK."""
        return bool(slicer.util.confirmOkCancelDisplay(question, windowTitle="Sim4Seg"))

    def choose_folder(self, caption: str) -> str:
        """A folder, empty if the user thinks better of it."""
        return str(qt.QFileDialog.getExistingDirectory(None, caption) or "")

    def choose_file(self, caption: str, pattern: str) -> str:
        """A file to read, empty if the user thinks better of it."""
        chosen = qt.QFileDialog.getOpenFileName(None, caption, "", pattern)
        # PySide gives the pattern that was used as well.
        return str((chosen[0] if isinstance(chosen, tuple) else chosen) or "")


class Application:
    """What the panel asks of Slicer's main window."""

    def slice_node(self) -> Any:
        """The slice view that is looked at: the red one if the layout shows it, else the first."""
        manager = slicer.app.layoutManager()
        names = [] if manager is None else sorted(manager.sliceViewNames(), key=_not_red)
        # Slicer keeps the widgets of earlier layouts.
        nodes = [manager.sliceWidget(name).mrmlSliceNode() for name in names]
        return next((node for node in nodes if node.IsMappedInLayout()), None)

    def show_volume(self, volume_node: Any) -> None:
        """In all slice views."""
        slicer.util.setSliceViewerLayers(background=volume_node, fit=True)

    def edit_segments(self, segmentation_node: Any, volume_node: Any, segment_id: str) -> None:
        """Open the Segment Editor."""
        slicer.util.selectModule("SegmentEditor")
        editor = slicer.util.getModuleWidget("SegmentEditor").editor
        editor.setSegmentationNode(segmentation_node)
        editor.setSourceVolumeNode(volume_node)
        editor.setCurrentSegmentID(segment_id)

    def dicom_file(self, instance_uid: str) -> str:
        """The file of a SOP instance in Slicer's DICOM database, empty if there is none."""
        database = slicer.dicomDatabase
        is_open = database is not None and database.isOpen
        return str(database.fileForInstance(instance_uid) or "") if is_open else ""

    def write_pdf(self, html: str, path: Path) -> None:
        """See `write_pdf`."""
        write_pdf(html, path)

    def later(self, callback: Callable[[], None]) -> None:
        """Call a function once the window has been drawn."""
        qt.QTimer.singleShot(0, callback)

    def process_events(self) -> None:
        """Let the window live."""
        slicer.app.processEvents()


def _not_red(name: str) -> bool:
    return name != "Red"


def data_folder() -> Path:
    """Where the user's models lie: beside Slicer's settings."""
    return Path(str(slicer.app.slicerUserSettingsFilePath)).parent / "Sim4Seg"


def write_pdf(html: str, path: Path) -> None:
    """Write a report, A4.

    Raises:
        Sim4SegError: if it cannot be written.
    """
    document = qt.QTextDocument()
    # Black, whatever theme the window has.
    document.defaultStyleSheet = "body, p, td, li, h3, h4 { color: #000000; }"
    document.setHtml(html)
    # A4 is its default.
    writer = qt.QPdfWriter(str(path))
    writer.setResolution(_PDF_DPI)
    # Python's own print is a keyword no more, but some bindings still step aside.
    (getattr(document, "print_", None) or document.print)(writer)
    # The file is complete when the writer has gone.
    del writer
    if not path.is_file() or path.stat().st_size == 0:
        raise Sim4SegError("the report cannot be written as PDF; choose another folder")
