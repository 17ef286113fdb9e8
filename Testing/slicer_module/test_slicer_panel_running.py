"""The panel while something runs, and what it says about the service."""

import opened_panel
import pytest
import slicer_qt

slicer_qt.with_properties(__name__)
opened = opened_panel.opened
ACTIONS = (
    "applyButton",
    "editButton",
    "acceptButton",
    "exportButton",
    "discardButton",
    "testButton",
    "importModelButton",
    "clearModelsButton",
)


def enabled(opened):
    return [name for name in ACTIONS if getattr(opened.ui, name).enabled]


def held(opened):
    """A query that does not end before it is let go."""
    opened.remote.is_held = True
    opened.ask()
    opened.until(lambda: opened.ui.progressBar.value == 500)


def test_apply_is_pressed_once_while_packages_are_installed(opened):
    opened.volume()
    opened.installer.lacks = ["torch>=2.4"]
    install, installs = opened.installer.install, []

    def pressed_again(tell):
        installs.append(enabled(opened))
        tell("Installing PyTorch")
        opened.ui.applyButton.click()
        opened.panel.apply()
        install(tell)

    opened.installer.install = pressed_again
    opened.ask()
    opened.until_over()
    assert installs == [[]]
    assert opened.remote.asked == ["Is there a mass?"]


def test_a_scene_that_is_closed_during_an_installation_is_not_asked_about(opened):
    opened.volume()
    opened.installer.lacks = ["torch>=2.4"]
    opened.installer.install = lambda tell: opened.scene.mrml.Clear(1)
    opened.ask()
    assert "Pick a volume first." in opened.ui.statusLabel.text
    assert opened.remote.asked == []


def test_what_a_query_needs_cannot_be_taken_from_it(opened):
    opened.volume()
    opened.ask()
    opened.until_over()
    assert enabled(opened) == list(ACTIONS)
    held(opened)
    assert enabled(opened) == []
    opened.ui.votesCheckBox.toggle()
    opened.ui.reportSelector.setCurrentNode(None)
    assert enabled(opened) == []
    opened.remote.is_held = False
    opened.until_over()
    assert enabled(opened) == list(ACTIONS)


def test_a_query_of_the_console_is_seen_and_can_be_cancelled(opened):
    volume = opened.volume()
    opened.ui.queryTextEdit.plainText = "Is there a mass?"
    opened.remote.is_held = True
    opened.widget.logic.process(volume, "Is there a cyst?", wait=False)
    assert "outside" in opened.ui.statusLabel.text
    assert enabled(opened) == [] and opened.ui.cancelButton.enabled
    opened.ui.cancelButton.click()
    opened.until_over()
    assert "ended" in opened.ui.statusLabel.text
    assert opened.ui.applyButton.enabled and not opened.ui.cancelButton.enabled


def test_a_scene_that_is_added_during_a_query_does_not_disturb_it(opened):
    opened.volume()
    held(opened)
    opened.widget.exit()
    opened.parent.isEntered = False
    opened.scene.mrml.SetLoadFromXMLString(1)
    opened.scene.mrml.SetSceneXMLString("<MRML></MRML>")
    opened.scene.mrml.Import()
    opened.remote.is_held = False
    opened.until_over()
    opened.parent.isEntered = True
    opened.widget.enter()
    assert "Is there a mass?" in opened.ui.reportBrowser.plainText


class Process:
    """The local service's process, which other settings end before they start another one."""

    def __init__(self, opened, monkeypatch):
        self.pid = 1
        self._settings = None
        self._opened = opened
        kind = type(opened.widget.logic.connection)
        monkeypatch.setattr(kind, "pid", property(lambda _: self.pid))
        monkeypatch.setattr(kind, "close", lambda _: self.end())
        monkeypatch.setattr(kind, "client", lambda _, settings: self.client(settings))

    def end(self):
        self.pid = None

    def client(self, settings):
        if self._settings not in (None, settings):
            self.end()
        self._settings = settings
        return self._opened.remote

    def answer(self):
        self._opened.ask()
        self._opened.until_over()
        return self._opened.ui.statusLabel.text

    def answer_with_new_process(self):
        held(self._opened)
        self.pid = 2
        self._opened.remote.is_held = False
        self._opened.until_over()
        return self._opened.ui.statusLabel.text


def test_a_service_that_ended_by_itself_is_named(opened, monkeypatch):
    opened.volume()
    process = Process(opened, monkeypatch)
    assert "was started again" not in process.answer()
    process.end()
    assert "was started again" in process.answer_with_new_process()
    assert "was started again" not in process.answer()


@pytest.mark.parametrize("reason", ["device", "model", "clear"])
def test_a_service_that_was_ended_on_purpose_is_not(opened, monkeypatch, reason):
    opened.volume()
    process = Process(opened, monkeypatch)
    process.answer()
    if reason == "device":
        opened.ui.deviceComboBox.currentIndex = 1
    elif reason == "model":
        opened.ui.modelLineEdit.text = "/models/mine"
    else:
        monkeypatch.setattr(opened.widget.logic.models, "size", lambda: 1)
        opened.ui.clearModelsButton.click()
        opened.until(lambda: "removed" in opened.ui.connectionLabel.text)
    assert "was started again" not in process.answer_with_new_process()


def test_the_view_whose_slice_was_asked_about_is_named(opened):
    opened.volume()
    opened.view = opened.scene.slice_view(name="Green")
    opened.ask()
    opened.until_over()
    assert "Slice of the view Green." in opened.ui.statusLabel.text
