"""The panel's section Advanced: service, models on this computer, devices. Qt, no MRML."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from Sim4SegCore.errors import Sim4SegError

from .browsing import browse
from .connection import Connection, ServiceSettings, describe
from .devices import describe_devices
from .errands import Errands
from .installer import Installer
from .model_store import ModelStore
from .service_watch import ServiceWatch

if TYPE_CHECKING:
    from Sim4SegCore.service.protocol import Health

ERROR = "<span style='color:#c62828'>{}</span>"


class AdvancedPanel:
    """Tests the connection, imports and removes models, shows free memory; never waits."""

    def __init__(
        self,
        ui: Any,
        connection: Connection,
        installer: Installer,
        models: ModelStore,
        errands: Errands,
        dialogs: Any,
        settings: Callable[[], ServiceSettings],
        show_modes: Callable[[list[str]], None],
        watch: ServiceWatch,
    ) -> None:
        """
        Args:
            dialogs: see `qt_parts`.
            settings: as the widgets say; raises Sim4SegError.
            show_modes: hears what the service can do.
            watch: hears when the local service is ended here.
        """
        self.ui = ui
        self._connection = connection
        self._installer = installer
        self._models = models
        self._errands = errands
        self._dialogs = dialogs
        self._settings = settings
        self._show_modes = show_modes
        self._watch = watch
        ui.testButton.clicked.connect(lambda *_: self.test_connection())
        ui.importModelButton.clicked.connect(lambda *_: self.import_model())
        ui.clearModelsButton.clicked.connect(lambda *_: self.clear_models())
        browse(ui.modelBrowseButton, ui.modelLineEdit, self._model_folder)
        browse(ui.certificateBrowseButton, ui.certificateLineEdit, self._certificate)
        browse(ui.datasetBrowseButton, ui.datasetLineEdit, self._dataset_folder)
        ui.advancedCollapsibleButton.contentsCollapsed.connect(self._collapsed)

    def update(self, is_busy: bool) -> None:
        """Enable what can be done now; a query needs its service and its model."""
        for button in (self.ui.testButton, self.ui.importModelButton, self.ui.clearModelsButton):
            button.enabled = not is_busy

    def test_connection(self) -> None:
        """Say what the service is, and offer what it can."""
        try:
            settings = self._settings()
            if settings.is_local and self._installer.missing():
                self._tell(_("Packages are missing; press Apply to install them."))
                return
            self._watch.begin(settings)
            client = self._connection.client(settings)
        except Sim4SegError as error:
            self._fail(str(error))
            return

        def ask() -> Health:
            with client:
                return client.health()

        self._tell(_("Waiting for the service"))
        self._errands.start("connection", ask, self._connected, self._fail)

    def import_model(self) -> None:
        """Unpack a zip file and use the model in it."""
        path = self._dialogs.choose_file(_("Import model"), "(*.zip)")
        if path:
            self._tell(_("Unpacking the model"))
            models = self._models
            self._errands.start(
                "models", lambda: models.import_zip(Path(path)), self._imported, self._fail
            )

    def clear_models(self) -> None:
        """Remove imported and downloaded models, after asking."""
        size = self._models.size()
        if not size:
            self._tell(_("There are no imported or downloaded models."))
            return
        names = ", ".join(self._models.names())
        question = _("Remove {:.1f} MB of imported and downloaded models from this computer?")
        question = question.format(size / 1e6) + (f"\n\n{names}" if names else "")
        if not self._dialogs.agrees(question):
            return
        # A running service may hold the files open.
        self._watch.forget()
        self._connection.close()
        self._errands.start("models", self._models.clear, self._cleared, self._fail)

    def _model_folder(self) -> str:
        return str(self._dialogs.choose_folder(_("Model folder")))

    def _certificate(self) -> str:
        return str(self._dialogs.choose_file(_("Certificate"), "(*.pem *.crt *.cer)"))

    def _dataset_folder(self) -> str:
        return str(self._dialogs.choose_folder(_("Dataset folder")))

    def _collapsed(self, is_collapsed: bool) -> None:
        if not is_collapsed:
            label = self.ui.memoryLabel

            def show(text: str) -> None:
                label.text = text

            self._errands.start("devices", describe_devices, show, show)

    def _connected(self, health: Health) -> None:
        self._tell(describe(health))
        self._show_modes(list(health.modes))

    def _imported(self, folder: Path) -> None:
        self.ui.modelLineEdit.text = str(folder)
        self._tell(_("Imported {}; it answers the next query.").format(folder.name))

    def _cleared(self, _result: None) -> None:
        self.ui.modelLineEdit.text = "embedded"
        self._tell(_("The models were removed; the embedded one answers."))

    def _tell(self, text: str) -> None:
        self.ui.connectionLabel.text = html.escape(text)

    def _fail(self, sentence: str) -> None:
        text = sentence[:1].upper() + sentence[1:]
        self.ui.connectionLabel.text = ERROR.format(html.escape(text))
