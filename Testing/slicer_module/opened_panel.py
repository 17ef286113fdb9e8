"""The module's widget in real Qt widgets on a real scene, with stand-ins for what is outside."""

import importlib
import sys
import time

import numpy as np
import pytest
import slicer_qt
from mrml_scene import document
from slicer_qt import Module, application

from Sim4SegCore.service import RemoteAnswer
from Sim4SegCore.service.client import ClientProgress
from Sim4SegCore.service.protocol import DeviceStatus, Health, ModelStatus

slicer_qt.with_properties(__name__)

LIMIT_S = 60.0
HEALTH = Health(
    "1.0", "0.1.0", [ModelStatus("embedded")], [DeviceStatus("cpu", "ready", 0)], 0, 0, 0
)


class RemoteStandIn:
    """A service that does what the test says."""

    def __init__(self):
        self.answer = None
        self.steps = []
        self.health_is = HEALTH
        self.is_held = False
        self.health_waits = None
        self.asked = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def prepare_volume(self, voxels, geometry, modality=None, window=None):
        return voxels

    def health(self):
        if self.health_waits is not None:
            assert self.health_waits.wait(LIMIT_S)
        if isinstance(self.health_is, Exception):
            raise self.health_is
        return self.health_is

    def send(self, image, progress):
        return None

    def ask(self, image, query, options, progress):
        self.asked.append(query)
        self.options = options
        for step in self.steps:
            progress(step)
        while self.is_held:
            progress(ClientProgress("answer", 0.5, 3.0))
            time.sleep(0.01)
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is not None:
            return self.answer
        mask = np.zeros(image.shape[:3], bool)
        mask[:, 2:6, 3:9] = True
        similarity = mask.astype(np.float32)
        return RemoteAnswer(document(query), (mask,), similarity, 0)


class DialogsStandIn:
    def __init__(self):
        self.says = True
        self.questions = []
        self.folder = ""
        self.file = ""

    def agrees(self, question):
        self.questions.append(question)
        return self.says

    def choose_folder(self, caption):
        return self.folder

    def choose_file(self, caption, pattern):
        return self.file


class InstallerStandIn:
    def __init__(self):
        self.lacks = []
        self.error = None

    def missing(self):
        return self.lacks

    def question(self):
        return "Install torch, about 3 GB?"

    def install(self, tell):
        tell("Installing PyTorch")
        if self.error is not None:
            raise self.error
        self.lacks = []


class Opened:
    """The module's widget with stand-ins for what is outside."""

    def __init__(self, monkeypatch, scene, is_answered_really=False):
        for name in ("Sim4Seg", "Sim4SegLib.panel", "Sim4SegLib.qt_parts", "Sim4SegLib.parameters"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        self.view = None
        import Sim4Seg

        # Not as attributes of the package: those are what an earlier test imported.
        connection, installer, qt_parts = (
            importlib.import_module(f"Sim4SegLib.{name}")
            for name in ("connection", "installer", "qt_parts")
        )
        self.remote, self.dialogs = RemoteStandIn(), DialogsStandIn()
        self.installer = InstallerStandIn()
        self.edited, self.shown = [], []
        outer = self

        class Application:
            def slice_node(self):
                return outer.view

            def show_volume(self, node):
                outer.shown.append(node)

            def edit_segments(self, segmentation, volume, segment):
                outer.edited.append((segmentation, volume, segment))

            def write_pdf(self, html, path):
                qt_parts.write_pdf(html, path)

            def dicom_file(self, uid):
                return ""

            def later(self, callback):
                callback()

            def process_events(self):
                application.processEvents()

        monkeypatch.setattr(installer, "Installer", lambda *_: self.installer)
        monkeypatch.setattr(qt_parts, "Dialogs", lambda: self.dialogs)
        monkeypatch.setattr(qt_parts, "Application", Application)
        if not is_answered_really:
            monkeypatch.setattr(connection.Connection, "client", lambda *_: self.remote)
        self.scene = scene
        self.module = Sim4Seg
        self.parent = Module()
        self.widget = Sim4Seg.Sim4SegWidget(self.parent)
        self.widget.setup()
        self.ui = self.widget.ui
        self.panel = self.widget.panel

    @property
    def parameters(self):
        return self.widget._parameters

    def volume(self):
        voxels = np.random.default_rng(0).integers(0, 255, (3, 20, 24), dtype=np.uint8)
        node = self.scene.volume(voxels)
        self.parameters.inputVolume = node
        return node

    def ask(self, query="Is there a mass?"):
        self.ui.queryTextEdit.plainText = query
        self.ui.applyButton.click()

    def until(self, condition):
        until = time.monotonic() + LIMIT_S
        while not condition():
            assert time.monotonic() < until, f"not in a minute: {self.ui.statusLabel.text}"
            application.processEvents()
            time.sleep(0.005)

    def until_over(self):
        self.until(lambda: not self.widget.logic.queries.is_running)


@pytest.fixture
def opened(monkeypatch, scene, tmp_path):
    slicer_qt.install(monkeypatch, scene, tmp_path)
    # Qt swallows what a slot raises.
    raised = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: raised.append(error))
    made = Opened(monkeypatch, scene)
    yield made
    assert raised == []
    made.remote.is_held = False
    made.widget.cleanup()
    made.parent.deleteLater()
    application.processEvents()
