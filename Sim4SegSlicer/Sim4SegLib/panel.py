"""The panel: asks, and leads the sections Answer and Advanced. Knows `queries`, not the service."""

from __future__ import annotations

import html
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from .advanced_panel import ERROR, AdvancedPanel
from .answer_panel import AnswerPanel
from .asking import Failed, Progressed
from .batch import FolderBatch
from .batch_panel import BatchPanel
from .connection import Connection, ServiceSettings
from .errands import Errands
from .examples import QUERIES, add_sample
from .images import similarity_maps
from .installer import Installer
from .mode_box import ModeBox
from .model_store import ModelStore
from .permission import Permission
from .progress_text import progress_text
from .queries import SLICE, Listeners, Queries, QueryRequest, QueryResult, Ticker
from .query_box import QueryBox
from .recent import RecentQueries
from .service_watch import ServiceWatch
from .unexpected import sentence_of


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
        recent: RecentQueries,
        make_batch: Callable[..., FolderBatch],
        batch_ticker: Ticker,
        scene: Callable[[], Any],
    ) -> None:
        """
        Args:
            ui: the widgets of Sim4Seg.ui by name.
            dialogs, application: see `qt_parts`.
            make_batch: from folder, query or queries, results and settings.
            scene: gives the application's scene.
        """
        self.ui = ui
        self._queries = queries
        self._errands = errands
        self._application = application
        self._scene = scene
        self._parameters: Any = None
        self._began = 0.0
        self._asked_mode = SLICE
        self._view = ""
        self._is_preparing = False
        self._is_foreign = False
        self._permission = Permission(installer, dialogs, self._tell, self._show_error)
        self._watch = ServiceWatch(lambda: connection.pid)
        self.answer = AnswerPanel(ui, dialogs, application, scene, self._is_busy)
        self._query = QueryBox(ui, recent, lambda: self.update())
        self._mode = ModeBox(ui, lambda: self.update())
        self.advanced = AdvancedPanel(
            ui,
            connection,
            installer,
            models,
            errands,
            dialogs,
            self._settings,
            self._mode.offer,
            self._watch,
        )
        self.batch = BatchPanel(
            ui,
            batch_ticker,
            errands,
            dialogs,
            lambda *chosen: self._wanted_batch(make_batch, *chosen),
            self._is_installed_for_batch,
            lambda: self.update(),
        )
        self._connect()
        self.update()

    def set_parameters(self, parameters: Any) -> None:
        """Another scene's parameters, or None while there is none."""
        self._parameters = parameters
        self.answer.set_parameters(parameters)
        self.update()

    def bind(self, parameters: Any) -> None:
        """Keep widgets and parameters the same; None while another module is open."""
        self._query.bind(parameters)
        self._mode.bind(parameters)
        self.answer.show_report()
        self.update()

    def update(self) -> None:
        """Enable what can be done now."""
        is_running, is_busy = self._queries.is_running, self._is_busy()
        reason = self._reason_against_asking()
        self.ui.applyButton.enabled = not is_busy and reason is None
        self.ui.applyButton.toolTip = reason or _("Ask the query (Ctrl+Enter).")
        self.ui.cancelButton.enabled = is_running
        self.ui.progressBar.visible = is_running
        is_slice = self._mode.mode == SLICE
        for box in (self.ui.samplesSpinBox, self.ui.masksSpinBox, self.ui.seedSpinBox):
            box.enabled = is_slice
        self._hide_similarity_maps()
        self.answer.update()
        self.advanced.update(is_busy or self.batch.is_running)
        self.batch.update(is_busy)

    def queries_changed(self) -> None:
        """A query has begun or ended; the console's and other modules' are shown as well."""
        if self._queries.is_running and not self._is_preparing:
            self._is_foreign = True
            self._watch.forget()
            self.ui.statusLabel.text = _("A query from outside of this panel is running.")
        elif self._is_foreign and not self._queries.is_running:
            self._is_foreign = False
            self.ui.statusLabel.text = _("The query from outside of this panel has ended.")
        self.update()

    def apply(self) -> None:
        """Ask, if it can be asked."""
        if self._is_busy() or self._reason_against_asking() is not None:
            return
        # The window lives while packages are installed, so that Apply could be pressed again.
        self._is_preparing = True
        self.update()
        try:
            self._ask(self._settings())
        except Exception as error:
            self._show_error(sentence_of(error))
        finally:
            self._is_preparing = False
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
            self.ui.queryTextEdit.plainText = QUERIES[0]
        self._application.show_volume(node)
        self.update()

    def close(self) -> None:
        """Hear of nothing any more."""
        self.batch.close()
        self._errands.close()

    def _connect(self) -> None:
        ui = self.ui
        ui.applyButton.clicked.connect(lambda *_: self.apply())
        ui.cancelButton.clicked.connect(lambda *_: self.cancel())
        ui.sampleButton.clicked.connect(lambda *_: self.load_sample())
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
        if not self._query.text.strip():
            return _("Type a query first.")
        return None

    def _is_busy(self) -> bool:
        return self._queries.is_running or self._is_preparing

    def _hide_similarity_maps(self) -> None:
        maps = [] if self._parameters is None else similarity_maps(self._scene())
        hidden = [node.GetID() for node in maps]
        offered = self.ui.inputSelector.sortFilterProxyModel()
        if list(offered.hiddenNodeIDs) != hidden:
            offered.hiddenNodeIDs = hidden

    def _ask(self, settings: ServiceSettings) -> None:
        if not self._permission.may_ask(settings):
            return
        # The scene may have been closed during a question or an installation.
        if (reason := self._reason_against_asking()) is not None:
            self._show_error(reason)
            return
        self._began, self._asked_mode = time.monotonic(), self._mode.mode
        self._watch.begin(settings)
        self._queries.start(self._request(), settings, self._listeners())

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
        view = self._application.slice_node()
        self._view = "" if view is None else view.GetLayoutName()
        return QueryRequest(
            self.ui.inputSelector.currentNode(),
            self._query.text,
            self._asked_mode,
            view,
            parameters.outputSegmentation,
            parameters.regionOfInterest,
            parameters.positivePoints,
            parameters.negativePoints,
            parameters.samples or None,
            parameters.masks or None,
            parameters.seed or None,
        )

    def _wanted_batch(
        self, make: Callable[..., FolderBatch], studies: str, queries: str, output: str
    ) -> FolderBatch:
        # A text would be taken for the query itself.
        asked = Path(queries) if queries else self._query.text.strip()
        return make(studies, asked, output, self._settings())

    def _is_installed_for_batch(self) -> bool:
        self._is_preparing = True
        self.update()
        try:
            return self._permission.is_installed()
        finally:
            self._is_preparing = False
            self.update()

    def _tell(self, text: str) -> None:
        self.ui.statusLabel.text = html.escape(text)
        self._application.process_events()

    def _listeners(self) -> Listeners:
        return Listeners(self._progressed, self._finished, self._failed, self._was_cancelled)

    def _progressed(self, progress: Progressed) -> None:
        self._watch.look()
        self.ui.progressBar.value = int(1000 * progress.fraction)
        text = progress_text(progress.stage, progress.remaining_s)
        self.ui.statusLabel.text = html.escape(text)

    def _finished(self, result: QueryResult) -> None:
        self.ui.statusLabel.text = html.escape(self._end_text(result))
        self._query.remember(result.document["query"])
        self._parameters.shownReport = result.textNode
        self._end()
        self.answer.show_report()
        if self._asked_mode != SLICE and self._parameters.showSurfaces:
            # After the slices were drawn: a large surface takes a while.
            self._application.later(self.answer.show_surfaces)

    def _end_text(self, result: QueryResult) -> str:
        self._watch.look()
        text = _("Answered in {:.1f} s.").format(time.monotonic() - self._began)
        if self._asked_mode == SLICE and self._view:
            text += " " + _("Slice of the view {}.").format(self._view)
        if not result.segmentIds:
            text += " " + _("Nothing was found.")
        if self._watch.has_ended:
            text += " " + _("The service had ended and was started again.")
        return text

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


def _keep_together(selector: Any, place: Any) -> None:
    """Points are placed into the node that is chosen."""

    def changed(*_: Any) -> None:
        node = selector.currentNode()
        place.setCurrentNode(node)
        place.enabled = node is not None

    selector.currentNodeChanged.connect(changed)
    changed()
