"""Installing on first use: what is missing, what is asked, what is done, what can fail."""

import importlib.metadata
import sys
from pathlib import Path

import pytest
from Sim4SegLib.batch import FolderBatch
from Sim4SegLib.connection import Connection, ServiceSettings
from Sim4SegLib.installer import PACKAGES, TORCH, Installer, SlicerPip

from Sim4SegCore.errors import Sim4SegError

WORKS = sys.executable


class PipStandIn:
    def __init__(self, error=None):
        self.error = error
        self.done = []

    def install_torch(self, requirement, anew):
        if self.error is not None:
            raise self.error
        self.done.append(("torch", requirement, anew))

    def install(self, requirements, constraints, anew):
        if self.error is not None:
            raise self.error
        self.done.append((*requirements, anew))
        self.constraints = constraints


def versions(**known):
    def version_of(name):
        version = known.get(name.replace("-", "_"), "99.0")
        if version is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return version

    return version_of


def test_nothing_is_missing_where_all_is_new_enough():
    assert Installer(PipStandIn(), WORKS, versions(torch="2.4.0+cu121")).missing() == []


def test_what_is_missing_or_too_old_is_asked_for_by_name_and_size():
    installer = Installer(PipStandIn(), WORKS, versions(torch=None, transformers="4.50.1"))
    assert installer.missing() == ["torch>=2.4", "transformers>=5.23"]
    question = installer.question()
    assert "torch" in question and "transformers" in question and "3 GB" in question
    assert "MB" in Installer(PipStandIn(), WORKS, versions(fastapi=None)).question()


def test_torch_comes_by_its_extension_and_the_rest_at_once(monkeypatch):
    pip, told = PipStandIn(), []
    installer = Installer(pip, WORKS, versions(torchvision=None, monai=None, uvicorn=None))
    monkeypatch.setattr("Sim4SegLib.verifying.IMPORTS", "pass")
    installer.install(told.append)
    assert pip.done == [("torch", ">=2.4", False), ("monai>=1.4", "uvicorn>=0.29", False)]
    assert told[-1] == "Checking the installation"
    assert set(TORCH) & set(PACKAGES) == set()


def test_the_window_lives_while_the_installation_is_checked(monkeypatch):
    installer = Installer(PipStandIn(), WORKS, versions(monai=None))
    told, refused = [], []

    def tell(text):
        told.append(text)
        # The user presses Apply again.
        with pytest.raises(Sim4SegError, match="being installed; wait"):
            installer.missing()
        refused.append(text)

    monkeypatch.setattr("Sim4SegLib.verifying.IMPORTS", "import time; time.sleep(0.5)")
    installer.install(tell)
    assert told.count("Checking the installation") > 2 and refused == told
    assert installer.missing() == ["monai>=1.4"]


def test_an_installation_that_does_not_work_is_offered_anew_until_it_does(monkeypatch):
    pip = PipStandIn()
    installer = Installer(pip, WORKS, versions())
    monkeypatch.setattr("Sim4SegLib.verifying.IMPORTS", "raise SystemExit('libcudart is broken')")
    with pytest.raises(Sim4SegError, match="libcudart is broken"):
        installer.install(lambda text: None)
    assert installer.missing() == [*TORCH, *PACKAGES]
    assert "do not work" in installer.question() and "anew" in installer.question()
    monkeypatch.setattr("Sim4SegLib.verifying.IMPORTS", "pass")
    installer.install(lambda text: None)
    assert pip.done == [("torch", ">=2.4", True), (*PACKAGES, True)]
    assert installer.missing() == []
    assert "further Python packages" in installer.question()


def test_a_check_that_does_not_end_is_ended(monkeypatch):
    monkeypatch.setattr("Sim4SegLib.verifying.IMPORTS", "import time; time.sleep(600)")
    monkeypatch.setattr("Sim4SegLib.verifying.LIMIT_S", 0.3)
    with pytest.raises(Sim4SegError, match="cannot be checked"):
        Installer(PipStandIn(), WORKS, versions()).install(lambda text: None)


def test_pip_may_not_replace_torch_nor_what_is_slicers_own(monkeypatch):
    slicer = pytest.importorskip("slicer", exc_type=ImportError)
    pip, seen = SlicerPip(), []

    def pip_install(requirements):
        assert isinstance(requirements, list)
        *asked, option, path = requirements
        assert option == "-c"
        seen.append((asked, Path(path).read_text(encoding="utf-8").splitlines()))

    monkeypatch.setattr(slicer.util, "pip_install", pip_install, raising=False)
    monkeypatch.setattr("Sim4SegLib.verifying.IMPORTS", "pass")
    known = versions(
        monai=None, torch="2.5.1+cu121", numpy="2.4.0", SimpleITK=None, torchvision="0.20.1"
    )
    Installer(pip, WORKS, known).install(lambda text: None)
    ((asked, constraints),) = seen
    assert asked == ["monai>=1.4"]
    assert {"torch==2.5.1+cu121", "torchvision==0.20.1", "numpy==2.4.0"} <= set(constraints)
    assert {each.partition("==")[0] for each in constraints} == {
        "torch",
        "torchvision",
        "numpy",
        "scipy",
        "requests",
    }


def test_what_is_missing_is_said_where_nobody_can_be_asked(monkeypatch, tmp_path):
    monkeypatch.setattr("Sim4SegLib.installer.missing_packages", lambda: ["torch>=2.4", "monai"])
    sentence = r"missing in Slicer \(torch, monai\); open the module Sim4Seg and press Apply"
    with pytest.raises(Sim4SegError, match=sentence):
        Connection().client(ServiceSettings())
    with pytest.raises(Sim4SegError, match=sentence):
        FolderBatch(tmp_path, tmp_path / "out", WORKS, query="?").start()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("proxy refused"), "proxy refused"),
        (Sim4SegError("the extension PyTorch is missing; install it"), "PyTorch is missing"),
    ],
)
def test_what_fails_is_said_in_one_sentence(error, said):
    installer = Installer(PipStandIn(error), WORKS, versions(torch=None, monai=None))
    with pytest.raises(Sim4SegError, match=said):
        installer.install(lambda text: None)
