"""The panel's section Folder, with a real child process in place of `sim4seg batch`."""

import sys
import textwrap

import opened_panel
import pytest
import slicer_qt

slicer_qt.with_properties(__name__)
opened = opened_panel.opened
COUNTING = """
    import sys, time
    from Sim4SegCore.batch import progress
    progress.PROGRESS_SECONDS = 0
    say = lambda text: print("sim4seg: " + text, flush=True)
    counted = progress.Progress(2, say)
    counted.count(failed=False)
    """


@pytest.fixture
def folder(monkeypatch, opened, tmp_path):
    """Started with the panel's fields filled; `script` is what the process does."""

    class Folder:
        script = COUNTING
        commands = []  # noqa: RUF012

    class FolderBatch(opened.module.FolderBatch):
        def start(self):
            Folder.commands.append(self._command)
            self._command = [sys.executable, "-c", textwrap.dedent(Folder.script)]
            super().start()

    monkeypatch.setattr(opened.module, "FolderBatch", FolderBatch)
    opened.ui.batchFolderLineEdit.text = str(tmp_path / "images")
    opened.ui.batchQueriesLineEdit.text = str(tmp_path / "queries.csv")
    opened.ui.batchOutputLineEdit.text = str(tmp_path / "results")
    return Folder


def until_over(opened):
    opened.until(lambda: not opened.panel.batch.is_running)


@pytest.mark.parametrize(
    ("code", "expected"),
    [(0, "All images were answered"), (3, "Some images were not answered")],
)
def test_a_folder_is_asked_from_the_panel(opened, folder, tmp_path, code, expected):
    folder.script = COUNTING + f"time.sleep(0.5); sys.exit({code})"
    assert opened.ui.batchStartButton.enabled and not opened.ui.batchStopButton.enabled
    opened.ui.batchStartButton.click()
    assert not opened.ui.batchStartButton.enabled and opened.ui.batchStopButton.enabled
    assert not opened.ui.clearModelsButton.enabled, "the batch reads the model"
    opened.until(lambda: opened.ui.batchProgressBar.maximum == 2)
    assert opened.ui.batchProgressBar.value == 1
    assert opened.ui.batchLabel.text.startswith("1 of 2 queries")
    until_over(opened)
    assert expected in opened.ui.batchLabel.text
    assert str(tmp_path / "results" / "results.csv") in opened.ui.batchLabel.text
    (command,) = folder.commands
    assert str(tmp_path / "images") in command and str(tmp_path / "queries.csv") in command
    assert opened.ui.batchStartButton.enabled


def test_a_folder_that_was_stopped_goes_on(opened, folder):
    folder.script = COUNTING + "time.sleep(600)"
    opened.ui.batchStartButton.click()
    opened.until(lambda: opened.ui.batchProgressBar.maximum == 2)
    opened.ui.batchStopButton.click()
    assert not opened.ui.batchStopButton.enabled
    until_over(opened)
    assert opened.ui.batchLabel.text == "Stopped; Start goes on from there."
    folder.script = COUNTING
    opened.ui.batchStartButton.click()
    until_over(opened)
    assert folder.commands[0] == folder.commands[1]


def test_without_a_table_of_queries_the_query_is_asked(opened, folder):
    opened.ui.batchQueriesLineEdit.text = ""
    opened.ui.batchStartButton.click()
    assert "either a query or" in opened.ui.batchLabel.text
    opened.ui.queryTextEdit.plainText = "Is there a mass?"
    opened.ui.batchStartButton.click()
    until_over(opened)
    assert "Is there a mass?" in folder.commands[0]


def test_a_file_of_queries_is_no_query_whatever_its_name(opened, folder):
    opened.ui.batchQueriesLineEdit.text = "/data/queries.txt"
    opened.ui.batchStartButton.click()
    until_over(opened)
    assert "--queries" in folder.commands[0] and "--query" not in folder.commands[0]


def test_a_folder_that_cannot_be_asked_says_why(opened, folder):
    opened.ui.batchFolderLineEdit.text = ""
    opened.ui.batchStartButton.click()
    assert "Choose a folder of images" in opened.ui.batchLabel.text
    opened.ui.batchFolderLineEdit.text = "/images"
    opened.ui.serverLineEdit.text = "https://sim4seg.example"
    opened.ui.batchStartButton.click()
    assert "on this computer" in opened.ui.batchLabel.text
    opened.ui.serverLineEdit.text = ""
    folder.script = "import sys; print('sim4seg: there are no images in images'); sys.exit(2)"
    opened.ui.batchStartButton.click()
    until_over(opened)
    assert "there are no images in images" in opened.ui.batchLabel.text


def test_packages_are_installed_before_a_folder_is_asked(opened, folder):
    opened.installer.lacks = ["torch>=2.4"]
    opened.dialogs.says = False
    opened.ui.batchStartButton.click()
    assert folder.commands == [] and "not installed" in opened.ui.statusLabel.text
    opened.dialogs.says = True
    opened.ui.batchStartButton.click()
    until_over(opened)
    assert len(folder.commands) == 1


def test_paths_of_a_folder_can_be_chosen_and_are_kept(opened):
    opened.dialogs.folder, opened.dialogs.file = "/data/images", "/data/queries.csv"
    for name in ("Folder", "Queries", "Output"):
        getattr(opened.ui, f"batch{name}BrowseButton").click()
    parameters = opened.parameters
    assert (parameters.batchFolder, parameters.batchQueries) == (
        "/data/images",
        "/data/queries.csv",
    )
    assert parameters.batchOutput == "/data/images"
