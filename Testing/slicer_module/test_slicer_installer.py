"""Installing on first use: what is missing, what is asked, what is done, what can fail."""

import importlib.metadata
import sys

import pytest
from Sim4SegLib.installer import PACKAGES, TORCH, Installer

from Sim4SegCore.errors import Sim4SegError

WORKS = sys.executable


class PipStandIn:
    def __init__(self, error=None):
        self.error = error
        self.done = []

    def install_torch(self, requirement):
        if self.error is not None:
            raise self.error
        self.done.append(("torch", requirement))

    def install(self, requirements):
        if self.error is not None:
            raise self.error
        self.done.append(tuple(requirements))


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
    monkeypatch.setattr("Sim4SegLib.installer._VERIFY", "pass")
    installer.install(told.append)
    assert pip.done == [("torch", ">=2.4"), ("monai>=1.4", "uvicorn>=0.29")]
    assert told[-1] == "Checking the installation"
    assert set(TORCH) & set(PACKAGES) == set()


def test_an_installation_that_does_not_work_is_found_in_a_process_of_its_own(monkeypatch):
    monkeypatch.setattr("Sim4SegLib.installer._VERIFY", "raise SystemExit('libcudart is broken')")
    with pytest.raises(Sim4SegError, match="libcudart is broken"):
        Installer(PipStandIn(), WORKS, versions()).install(lambda text: None)


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
