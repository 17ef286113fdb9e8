"""What the local service needs in Slicer's Python, installed on first use and after asking.

pip runs on the main thread only. torch comes through the PyTorch extension, which picks the build
that fits the graphics driver; numpy, SimpleITK, scipy and requests are Slicer's own and stay as
they are.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from Sim4SegCore.errors import Sim4SegError

from .verifying import verify

TORCH = ("torch>=2.4", "torchvision>=0.19")
PACKAGES = (
    "fastapi>=0.110",
    "filelock>=3.12",
    "highdicom>=0.26",
    "matplotlib>=3.7",
    "monai>=1.4",
    "pillow>=10",
    "pydicom>=3.0",
    "pylibjpeg[all]>=2.0",
    "safetensors>=0.4.3",
    "segment-anything>=1.0",
    "transformers>=5.23",
    "uvicorn>=0.29",
)
OF_SLICER = ("numpy", "SimpleITK", "scipy", "requests")
TORCH_SIZE = "0.2 GB for the processor alone, about 3 GB with a graphics card"
PACKAGES_SIZE = "about 100 MB"
VersionOf = Callable[[str], str]
"""A distribution's version; raises PackageNotFoundError."""


class Pip(Protocol):
    """How packages are installed; blocks until it is done. `anew` replaces what is there."""

    def install_torch(self, requirement: str, anew: bool) -> None: ...

    def install(
        self, requirements: Sequence[str], constraints: Sequence[str], anew: bool
    ) -> None: ...


class Installer:
    """Finds out what is missing, and installs it once the user agrees."""

    def __init__(
        self, pip: Pip, python: str, version_of: VersionOf = importlib.metadata.version
    ) -> None:
        """
        Args:
            python: the interpreter that verifies the installation, in a process of its own.
        """
        self._pip = pip
        self._python = python
        self._version_of = version_of
        self._is_installing = False
        self._is_broken = False

    def missing(self) -> list[str]:
        """Requirements that are not met; all of them once they turned out not to work.

        Raises:
            Sim4SegError: while they are being installed.
        """
        if self._is_installing:
            raise Sim4SegError("the packages are being installed; wait until that is done")
        return [*TORCH, *PACKAGES] if self._is_broken else missing_packages(self._version_of)

    def question(self) -> str:
        """What the user is asked before anything is installed."""
        missing = self.missing()
        size = TORCH_SIZE if set(missing) & set(TORCH) else PACKAGES_SIZE
        names = ", ".join(_name(requirement) for requirement in missing)
        reason = (
            "The Python packages that Sim4Seg installed in Slicer do not work. They can be "
            "installed anew:"
            if self._is_broken
            else "To answer on this computer, Sim4Seg needs further Python packages in Slicer:"
        )
        return (
            f"{reason}\n\n{names}\n\nDownload: {size}. It can take some minutes. Install them now?"
        )

    def install(self, tell: Callable[[str], None]) -> None:
        """Install what is missing and verify it; main thread only.

        Args:
            tell: hears what is being done, again and again, and lets the window live.

        Raises:
            Sim4SegError: if it fails.
        """
        missing = self.missing()
        self._is_installing = True
        try:
            self._install(missing, tell)
            self._is_broken = True
            verify(self._python, lambda: tell("Checking the installation"))
            self._is_broken = False
        finally:
            self._is_installing = False

    def _install(self, missing: Sequence[str], tell: Callable[[str], None]) -> None:
        anew = self._is_broken
        try:
            if any(requirement in TORCH for requirement in missing):
                tell("Installing PyTorch")
                self._pip.install_torch(TORCH[0].removeprefix("torch"), anew)
            if others := [requirement for requirement in missing if requirement in PACKAGES]:
                tell(f"Installing {', '.join(_name(requirement) for requirement in others)}")
                self._pip.install(others, self._constraints(), anew)
        except Sim4SegError:
            raise
        except Exception as error:
            raise Sim4SegError(
                f"the packages could not be installed ({error}); check the connection and proxy, "
                "then press Apply again"
            ) from error

    def _constraints(self) -> list[str]:
        """What pip must not replace: the build for the graphics driver, and Slicer's own."""
        found = []
        for name in (*(_name(requirement) for requirement in TORCH), *OF_SLICER):
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                found.append(f"{name}=={self._version_of(name)}")
        return found


def missing_packages(version_of: VersionOf = importlib.metadata.version) -> list[str]:
    """Requirements that are not met; nothing is imported to find out."""
    return [name for name in (*TORCH, *PACKAGES) if not _is_met(name, version_of)]


def check_packages() -> None:
    """
    Raises:
        Sim4SegError: if some are missing, with what to do.
    """
    if missing := missing_packages():
        names = ", ".join(_name(requirement) for requirement in missing)
        raise Sim4SegError(
            f"Python packages are missing in Slicer ({names}); open the module Sim4Seg and press "
            "Apply, which installs them"
        )


class SlicerPip:
    """pip as Slicer offers it."""

    def install_torch(self, requirement: str, anew: bool) -> None:
        """
        Raises:
            Sim4SegError: if the PyTorch extension is missing.
        """
        try:
            import PyTorchUtils
        except ImportError:
            raise Sim4SegError(
                "the extension PyTorch is missing; install it with the Extensions Manager, restart "
                "Slicer and press Apply again"
            ) from None
        logic = PyTorchUtils.PyTorchUtilsLogic()
        if anew:
            logic.uninstallTorch()
        if logic.installTorch(askConfirmation=False, torchVersionRequirement=requirement) is None:
            raise Sim4SegError("PyTorch was not installed; press Apply to try again")

    def install(self, requirements: Sequence[str], constraints: Sequence[str], anew: bool) -> None:
        """One run of pip for all."""
        import slicer

        try:
            import slicer.packaging as packaging
        except ImportError:
            packaging = slicer.util
        with tempfile.TemporaryDirectory() as folder:
            kept = Path(folder) / "constraints.txt"
            kept.write_text("\n".join(constraints) + "\n", encoding="utf-8")
            again = ["--force-reinstall", "--no-deps"] if anew else []
            # A list: as one string, backslashes and blanks of the path would be lost.
            packaging.pip_install([*requirements, *again, "-c", str(kept)])


def _is_met(requirement: str, version_of: VersionOf) -> bool:
    name, _, floor = requirement.partition(">=")
    try:
        found = version_of(_name(name))
    except importlib.metadata.PackageNotFoundError:
        return False
    return _numbers(found) >= _numbers(floor)


def _name(requirement: str) -> str:
    return re.split(r"[\[><=]", requirement)[0]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.split("+")[0])[:3])
