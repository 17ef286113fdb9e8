"""The panel: asks, and leads the sections Answer and Advanced. Knows `queries`, not the service."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Sequence
from typing import Any

from slicer.i18n import tr as _

from Sim4SegCore.errors import Sim4SegError

from .advanced_panel import ERROR, AdvancedPanel
from .answer_panel import AnswerPanel
from .asking import STAGES, Failed, Progressed
from .binding import Bound
from .connection import Connection, ServiceSettings
from .errands import Errands
from .examples import QUERIES, add_sample
from .images import similarity_maps
from .installer import Installer
from .model_store import ModelStore
from .queries import SLICE, Listeners, Queries, QueryRequest, QueryResult

MODE_NAMES = {
    SLICE: "Current slice",
    "slices": "Volume, slice by slice",
    "volume": "Volume, in three dimensions",
}
_RECENT = 10


class Panel:
    """One panel for the life of the module's widget."""

    def __init__(
        self,
        ui: Any,
        queries: Queries,
        connection: Connection,
        installer: Installer,
        models: ModelStore,
        errands: Errands,
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
        self._errands = errands
        self._dialogs = dialogs
        self._application = application
        self._scene = scene
        self._parameters: Any = None
        self._began = 0.0
        self._mode = SLICE
        self._pid_before: int | None = None
        self._trusted_urls: set[str] = set()
        self._examples = list(QUERIES)
        self.answer = AnswerPanel(ui, dialogs, application, scene)
        self.advanced = AdvancedPanel(
            ui, connection, installer, models, errands, dialogs, self._settings, self._show_modes
        )
        self._query = Bound("query", lambda: ui.queryTextEdit.plainText, self._write_query)
        self._connect()
        self._show_modes(list(MODE_NAMES))
        self._show_examples()
        self.update()

    def set_parameters(self, parameters: Any) -> None:
        """Another scene's parameters, or None while there is none."""
        self._parameters = parameters
        self.answer.set_parameters(parameters)
        self.update()

    def bind(self, parameters: Any) -> None:
        """Keep widgets and parameters the same; None while another module is open."""
        self._query.bind(parameters)
        self.answer.show_report()
        self.update()

    def update(self) -> None:
        """Enable what can be done now."""
        maps = [] if self._parameters is None else similarity_maps(self._scene())
        hidden = [node.GetID() for node in maps]
        self.ui.inputSelector.sortFilterProxyModel().hiddenNodeIDs = hidden
        is_running = self._queries.is_running
        reason = self._reason_against_asking()
        self.ui.applyButton.enabled = not is_running and reason is None
        self.ui.applyButton.toolTip = reason or _("Ask the query (Ctrl+Enter).")
        self.ui.cancelButton.enabled = is_running
        self.ui.progressBar.visible = is_running
        is_slice = self._chosen_mode() == SLICE
        for box in (self.ui.samplesSpinBox, self.ui.masksSpinBox, self.ui.seedSpinBox):
            box.enabled = is_slice
        self.answer.update(is_running)

    def apply(self) -> None:
        """Ask, if it can be asked."""
        if self._queries.is_running or self._reason_against_asking() is not None:
            return
        try:
            settings = self._settings()
            if not self._may_ask(settings):
                return
            self._began, self._pid_before = time.monotonic(), self._connection.pid
            self._mode = self._chosen_mode()
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

    def load_sample(self) -> None:
        """A volume and a query that work."""
        node = add_sample(self._scene())
        if self._parameters is not None:
            self._parameters.inputVolume = node
            self._parameters.query = QUERIES[0]
        self._application.show_volume(node)
        self.update()

    def close(self) -> None:
        """Hear of nothing any more."""
        self._errands.close()

    def _connect(self) -> None:
        ui = self.ui
        ui.applyButton.clicked.connect(lambda *_: self.apply())
        ui.cancelButton.clicked.connect(lambda *_: self.cancel())
        ui.sampleButton.clicked.connect(lambda *_: self.load_sample())
        ui.exampleComboBox.activated.connect(lambda *_: self._choose_example())
        ui.modeComboBox.currentIndexChanged.connect(lambda *_: self.update())
        ui.queryTextEdit.textChanged.connect(self._typed)
        ui.inputSelector.currentNodeChanged.connect(lambda *_: self.update())
        for selector, place in (
            (ui.roiSelector, ui.roiPlaceWidget),
            (ui.positiveSelector, ui.positivePlaceWidget),
            (ui.negativeSelector, ui.negativePlaceWidget),
        ):
            _keep_together(selector, place)

    def _reason_against_asking(self) -> str | None:
        if self._parameters is None or self.ui.inputSelector.currentNode() is None:
            return _("Pick a volume first.")
        if not self.ui.queryTextEdit.plainText.strip():
            return _("Type a query first.")
        return None

    def _typed(self) -> None:
        self._query.take()
        self.update()

    def _write_query(self, query: str) -> None:
        self.ui.queryTextEdit.plainText = query

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
        parameters = self._parameters
        return QueryRequest(
            self.ui.inputSelector.currentNode(),
            self.ui.queryTextEdit.plainText,
            self._mode,
            self._application.slice_node(),
            parameters.outputSegmentation,
            parameters.regionOfInterest,
            parameters.positivePoints,
            parameters.negativePoints,
            parameters.samples or None,
            parameters.masks or None,
            parameters.seed or None,
        )

    def _chosen_mode(self) -> str:
        mode = self.ui.modeComboBox.itemData(self.ui.modeComboBox.currentIndex)
        return str(mode or SLICE)

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
        self.ui.statusLabel.text = html.escape(text)
        self._application.process_events()

    def _listeners(self) -> Listeners:
        return Listeners(self._progressed, self._finished, self._failed, self._was_cancelled)

    def _progressed(self, progress: Progressed) -> None:
        self.ui.progressBar.value = int(1000 * progress.fraction)
        stage = _(STAGES.get(progress.stage, progress.stage))
        rest = progress.remaining_s
        left = "" if rest is None else _(", about {} s left").format(max(1, round(rest)))
        self.ui.statusLabel.text = html.escape(f"{stage}{left}")

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
        self.answer.show_report()
        if self._mode != SLICE and self._parameters.showSurfaces:
            # After the slices were drawn: a large surface takes a while.
            self._application.later(self.answer.show_surfaces)

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
        self.ui.statusLabel.text = ERROR.format(html.escape(sentence))

    def _show_modes(self, modes: Sequence[str]) -> None:
        chosen = self._chosen_mode()
        self.ui.modeComboBox.clear()
        for mode in modes:
            self.ui.modeComboBox.addItem(_(MODE_NAMES.get(mode, mode)), mode)
        self.ui.modeComboBox.currentIndex = max(
            0, list(modes).index(chosen) if chosen in modes else 0
        )

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


def _keep_together(selector: Any, place: Any) -> None:
    """Points are placed into the node that is chosen."""

    def changed(*_: Any) -> None:
        node = selector.currentNode()
        place.setCurrentNode(node)
        place.enabled = node is not None

    selector.currentNodeChanged.connect(changed)
    changed()
