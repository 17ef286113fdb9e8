"""The panel: what is enabled, what is shown, what buttons do. Knows `queries`, not the service."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from Sim4SegCore.errors import Sim4SegError

from . import overlay, reports
from .asking import STAGES, Failed, Progressed
from .connection import Connection, ServiceSettings, describe
from .dataset import accept_report
from .examples import QUERIES, add_sample
from .exporting import export_report
from .installer import Installer
from .queries import SLICE, Listeners, Queries, QueryRequest, QueryResult
from .report_text import as_html, votes_sentence

MODE_NAMES = {
    SLICE: "Current slice",
    "slices": "All slices, one by one",
    "volume": "The whole volume",
}
_ERROR = "<span style='color:#c62828'>{}</span>"
_RECENT = 10


class Panel:
    """One panel for the life of the module's widget."""

    def __init__(
        self,
        ui: Any,
        queries: Queries,
        connection: Connection,
        installer: Installer,
        dialogs: Any,
        application: Any,
        scene: Callable[[], Any],
    ) -> None:
        """
        Args:
            ui: the widgets of Sim4Seg.ui by name.
            dialogs, application: see `qt_parts`.
            scene: gives the application's scene.
        """
        self.ui = ui
        self._queries = queries
        self._connection = connection
        self._installer = installer
        self._dialogs = dialogs
        self._application = application
        self._scene = scene
        self._parameters: Any = None
        self._began = 0.0
        self._pid_before: int | None = None
        self._trusted_urls: set[str] = set()
        self._examples = list(QUERIES)
        self._connect()
        self._show_modes([SLICE])
        self._show_examples()
        self.update()

    def set_parameters(self, parameters: Any) -> None:
        """Another scene's parameters, or None while there is none."""
        self._parameters = parameters
        self.update()
        self.show_report()

    def update(self) -> None:
        """Enable what can be done now."""
        is_running = self._queries.is_running
        reason = self._reason_against_asking()
        self.ui.applyButton.enabled = not is_running and reason is None
        self.ui.applyButton.toolTip = reason or _("Ask the query (Ctrl+Enter).")
        self.ui.cancelButton.enabled = is_running
        self.ui.progressBar.visible = is_running
        report = self._report()
        has_segments = report is not None and bool(self._segments(report))
        self.ui.editButton.enabled = has_segments and not is_running
        self.ui.acceptButton.enabled = report is not None and not is_running
        self.ui.exportButton.enabled = report is not None and not is_running
        self.ui.opacitySlider.enabled = self._similarity() is not None

    def apply(self) -> None:
        """Ask, if it can be asked."""
        if self._queries.is_running or self._reason_against_asking() is not None:
            return
        try:
            settings = self._settings()
            if not self._may_ask(settings):
                return
            self._began, self._pid_before = time.monotonic(), self._connection.pid
            self._queries.start(self._request(), settings, self._listeners())
        except Sim4SegError as error:
            self._show_error(str(error))
        self.update()

    def cancel(self) -> None:
        """Stop the query that runs."""
        running = self._queries.running
        if running is not None and not running.is_over:
            running.cancel()
            self.ui.statusLabel.text = _("Cancelling")
            self.ui.cancelButton.enabled = False

    def test_connection(self) -> None:
        """Say what the service is, and offer what it can."""
        label = self.ui.connectionLabel
        try:
            settings = self._settings()
            if settings.is_local and self._installer.missing():
                label.text = _("Packages are missing; press Apply to install them.")
                return
            with self._connection.client(settings) as client:
                health = client.health()
            label.text = describe(health)
            self._show_modes(health.modes)
        except Sim4SegError as error:
            label.text = _ERROR.format(error)

    def show_report(self) -> None:
        """The chosen report and its similarity map."""
        report = self._report()
        document = None if report is None else reports.document_of(report)
        if document is None:
            self.ui.reportBrowser.html = ""
            self.ui.votesCheckBox.visible = False
        else:
            self.ui.votesCheckBox.visible = bool(votes_sentence(document))
            self.ui.reportBrowser.html = as_html(document, self.ui.votesCheckBox.checked)
        self._show_similarity()
        self.update()

    def load_sample(self) -> None:
        """A volume and a query that work."""
        node = add_sample(self._scene())
        if self._parameters is not None:
            self._parameters.inputVolume = node
            self._parameters.query = QUERIES[0]
        self._application.show_volume(node)
        self.update()

    def edit(self) -> None:
        """Correct the segments."""
        report = self._report()
        if report is not None:
            self._application.edit_segments(
                report.GetNodeReference(reports.SEGMENTATION_ROLE),
                report.GetNodeReference(reports.VOLUME_ROLE),
            )

    def accept(self) -> None:
        """Write the report's image and corrected masks as a training record."""
        folder = self._parameters.datasetFolder or self._dialogs.choose_folder(_("Dataset folder"))
        if folder and self._report() is not None:
            self._parameters.datasetFolder = folder
            self._do(lambda: accept_report(self._report(), Path(folder)), _("Accepted as {}"))

    def export(self) -> None:
        """Write report, picture and answer into a new folder."""
        folder = self._dialogs.choose_folder(_("Export into"))
        if folder and self._report() is not None:
            self._do(lambda: export_report(self._report(), Path(folder)), _("Exported to {}"))

    def _connect(self) -> None:
        ui = self.ui
        ui.applyButton.clicked.connect(lambda *_: self.apply())
        ui.cancelButton.clicked.connect(lambda *_: self.cancel())
        ui.testButton.clicked.connect(lambda *_: self.test_connection())
        ui.sampleButton.clicked.connect(lambda *_: self.load_sample())
        ui.editButton.clicked.connect(lambda *_: self.edit())
        ui.acceptButton.clicked.connect(lambda *_: self.accept())
        ui.exportButton.clicked.connect(lambda *_: self.export())
        ui.votesCheckBox.toggled.connect(lambda *_: self.show_report())
        ui.exampleComboBox.activated.connect(lambda *_: self._choose_example())
        ui.queryTextEdit.textChanged.connect(self.update)
        ui.inputSelector.currentNodeChanged.connect(lambda *_: self.update())
        ui.reportSelector.currentNodeChanged.connect(lambda *_: self.show_report())
        ui.opacitySlider.valueChanged.connect(lambda *_: self._show_similarity())
        ui.reportSelector.addAttribute("vtkMRMLTextNode", reports.DOCUMENT_ATTRIBUTE)

    def _reason_against_asking(self) -> str | None:
        if self._parameters is None or self.ui.inputSelector.currentNode() is None:
            return _("Pick a volume first.")
        if not self.ui.queryTextEdit.plainText.strip():
            return _("Type a query first.")
        return None

    def _settings(self) -> ServiceSettings:
        parameters = self._parameters
        return ServiceSettings(
            parameters.serverUrl.strip(),
            self.ui.tokenLineEdit.text.strip(),
            parameters.certificateFile.strip(),
            parameters.modelSource.strip() or "embedded",
            parameters.device,
        )

    def _request(self) -> QueryRequest:
        index = self.ui.modeComboBox.currentIndex
        return QueryRequest(
            self.ui.inputSelector.currentNode(),
            self.ui.queryTextEdit.plainText,
            self.ui.modeComboBox.itemData(index),
            self._application.slice_node(),
            self._parameters.outputSegmentation,
        )

    def _may_ask(self, settings: ServiceSettings) -> bool:
        """Packages are there, or the images may leave this computer."""
        if settings.is_local:
            return self._is_installed()
        if settings.url in self._trusted_urls:
            return True
        question = _("The image you ask about will be sent to {}. Continue?").format(settings.url)
        if not self._dialogs.agrees(question):
            self._show_error(_("Nothing was sent."))
            return False
        self._trusted_urls.add(settings.url)
        return True

    def _is_installed(self) -> bool:
        if not self._installer.missing():
            return True
        if not self._dialogs.agrees(self._installer.question()):
            self._show_error(_("The packages were not installed; nothing was asked."))
            return False
        self._installer.install(self._tell)
        return True

    def _tell(self, text: str) -> None:
        self.ui.statusLabel.text = text
        self._application.process_events()

    def _listeners(self) -> Listeners:
        return Listeners(self._progressed, self._finished, self._failed, self._was_cancelled)

    def _progressed(self, progress: Progressed) -> None:
        self.ui.progressBar.value = int(1000 * progress.fraction)
        stage = _(STAGES.get(progress.stage, progress.stage))
        rest = progress.remaining_s
        left = "" if rest is None else _(", about {} s left").format(max(1, round(rest)))
        self.ui.statusLabel.text = f"{stage}{left}"

    def _finished(self, result: QueryResult) -> None:
        seconds = time.monotonic() - self._began
        text = _("Answered in {:.1f} s.").format(seconds)
        if not result.segmentIds:
            text += " " + _("Nothing was found.")
        if self._pid_before is not None and self._connection.pid != self._pid_before:
            text += " " + _("The service had ended and was started again.")
        self.ui.statusLabel.text = text
        self._remember(result.document["query"])
        self._parameters.shownReport = result.textNode
        self._end()
        self.show_report()

    def _failed(self, failure: Failed) -> None:
        sentence = failure.sentence[:1].upper() + failure.sentence[1:]
        self._show_error(sentence)
        self._end()

    def _was_cancelled(self) -> None:
        self.ui.statusLabel.text = _("Cancelled; nothing was added.")
        self._end()

    def _end(self) -> None:
        self.ui.progressBar.value = 0
        self.update()

    def _show_error(self, sentence: str) -> None:
        self.ui.statusLabel.text = _ERROR.format(sentence)

    def _do(self, action: Callable[[], Path], done: str) -> None:
        try:
            self.ui.statusLabel.text = done.format(action())
        except Sim4SegError as error:
            self._show_error(str(error))

    def _report(self) -> Any | None:
        if self._parameters is None:
            return None
        report = self._parameters.shownReport
        return report if report is not None and reports.document_of(report) else None

    def _segments(self, report: Any) -> tuple[str, ...]:
        segmentation = report.GetNodeReference(reports.SEGMENTATION_ROLE)
        return () if segmentation is None else reports.segments_of(report)

    def _similarity(self) -> Any | None:
        report = self._report()
        return None if report is None else report.GetNodeReference(reports.SIMILARITY_ROLE)

    def _show_similarity(self) -> None:
        opacity = self.ui.opacitySlider.value / 100
        overlay.show_similarity(self._scene(), self._similarity(), opacity)

    def _show_modes(self, modes: Sequence[str]) -> None:
        self.ui.modeComboBox.clear()
        for mode in modes:
            self.ui.modeComboBox.addItem(_(MODE_NAMES.get(mode, mode)), mode)

    def _show_examples(self) -> None:
        self.ui.exampleComboBox.clear()
        self.ui.exampleComboBox.addItem(_("Examples and recent queries"))
        for query in self._examples:
            self.ui.exampleComboBox.addItem(query)
        self.ui.exampleComboBox.currentIndex = 0

    def _choose_example(self) -> None:
        index = self.ui.exampleComboBox.currentIndex
        if index > 0 and self._parameters is not None:
            self._parameters.query = self._examples[index - 1]
        self.ui.exampleComboBox.currentIndex = 0
        self.update()

    def _remember(self, query: str) -> None:
        recent = [query, *(known for known in self._examples if known != query)]
        self._examples = recent[: len(QUERIES) + _RECENT]
        self._show_examples()
