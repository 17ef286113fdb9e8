"""The panel's section Folder: the images of a folder, asked by `sim4seg batch`. Qt, no MRML."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from .advanced_panel import ERROR
from .batch import FolderBatch
from .browsing import browse
from .errands import Errands
from .queries import TICK_MS, Ticker
from .unexpected import sentence_of

TABLE = "results.csv"
_COUNTED = re.compile(r"(\d+) of (\d+) queries")


class BatchPanel:
    """One batch at a time; nothing of it enters the scene."""

    def __init__(
        self,
        ui: Any,
        ticker: Ticker,
        errands: Errands,
        dialogs: Any,
        make: Callable[[str, str, str], FolderBatch],
        is_installed: Callable[[], bool],
        changed: Callable[[], None],
    ) -> None:
        """
        Args:
            dialogs: see `qt_parts`.
            make: from folder, CSV file of queries and results; raises Sim4SegError.
            is_installed: asks the user to install what is missing.
            changed: called when a batch has begun or ended.
        """
        self.ui = ui
        self._ticker = ticker
        self._errands = errands
        self._make = make
        self._is_installed = is_installed
        self._changed = changed
        self._batch: FolderBatch | None = None
        self._is_stopped = False
        ui.batchStartButton.clicked.connect(lambda *_: self.start())
        ui.batchStopButton.clicked.connect(lambda *_: self.stop())
        browse(
            ui.batchFolderBrowseButton,
            ui.batchFolderLineEdit,
            lambda: str(dialogs.choose_folder(_("Folder of images"))),
        )
        browse(
            ui.batchQueriesBrowseButton,
            ui.batchQueriesLineEdit,
            lambda: str(dialogs.choose_file(_("Queries"), "(*.csv)")),
        )
        browse(
            ui.batchOutputBrowseButton,
            ui.batchOutputLineEdit,
            lambda: str(dialogs.choose_folder(_("Folder for the results"))),
        )

    @property
    def is_running(self) -> bool:
        """Whether a batch is on its way."""
        return self._batch is not None

    def update(self, is_busy: bool) -> None:
        """Enable what can be done now."""
        self.ui.batchStartButton.enabled = not is_busy and not self.is_running
        self.ui.batchStopButton.enabled = self.is_running and not self._is_stopped
        self.ui.batchProgressBar.visible = self.is_running

    def start(self) -> None:
        """Begin, or go on where an earlier batch into the same folder was stopped."""
        if self.is_running:
            return
        try:
            batch = self._wanted()
            if batch is not None and self._is_installed():
                batch.start()
                self._begin(batch)
        except Exception as error:
            self._fail(error)

    def stop(self) -> None:
        """End it; what is done stays."""
        batch = self._batch
        if batch is None:
            return
        self._is_stopped = True
        self._tell(_("Stopping"))
        # It takes seconds until a process that computes has heard of it.
        self._errands.start("batch", batch.cancel, lambda _: None, lambda sentence: None)
        self._changed()

    def close(self) -> None:
        """End it and hear of nothing any more."""
        self._ticker.stop()
        if self._batch is not None:
            self._batch.cancel()
            self._batch = None

    def _wanted(self) -> FolderBatch | None:
        ui = self.ui
        studies = ui.batchFolderLineEdit.text.strip()
        output = ui.batchOutputLineEdit.text.strip()
        if not studies or not output:
            self._tell(_("Choose a folder of images and a folder for the results first."))
            return None
        return self._make(studies, ui.batchQueriesLineEdit.text.strip(), output)

    def _begin(self, batch: FolderBatch) -> None:
        self._batch, self._is_stopped = batch, False
        # Without an end until the first image is counted.
        self.ui.batchProgressBar.maximum = 0
        self._tell(_("Starting; the model is loaded first."))
        self._ticker.start(self._poll, TICK_MS)
        self._changed()

    def _poll(self) -> None:
        batch = self._batch
        if batch is None:
            return
        for line in batch.poll():
            self._show(line.removeprefix("sim4seg: "))
        if batch.is_over:
            self._ticker.stop()
            self._batch = None
            self._end(batch)
            self._changed()

    def _show(self, line: str) -> None:
        if self._is_stopped:
            return
        self._tell(line)
        if counted := _COUNTED.match(line):
            self.ui.batchProgressBar.maximum = int(counted[2])
            self.ui.batchProgressBar.value = int(counted[1])

    def _end(self, batch: FolderBatch) -> None:
        table = Path(self.ui.batchOutputLineEdit.text.strip()) / TABLE
        if self._is_stopped:
            self._tell(_("Stopped; Start goes on from there."))
            return
        try:
            is_complete = batch.finish() == 0
        except Exception as error:
            self._fail(error)
            return
        if is_complete:
            self._tell(_("All images were answered; the table is {}.").format(table))
        else:
            self._tell(_("Some images were not answered; {} says why.").format(table))

    def _tell(self, text: str) -> None:
        self.ui.batchLabel.text = html.escape(text)

    def _fail(self, error: Exception) -> None:
        self.ui.batchLabel.text = ERROR.format(html.escape(sentence_of(error)))
