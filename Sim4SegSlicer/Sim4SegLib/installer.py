"""What the local service needs in Slicer's Python, installed on first use and after asking.

pip runs on the main thread only. torch comes through the PyTorch extension, which picks the build
that fits the graphics driver; numpy, SimpleITK, scipy and requests are Slicer's own and stay as
they are.
"""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
from collections.abc import Callable, Sequence
from typing import Protocol

from Sim4SegCore.errors import Sim4SegError

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
_VERIFY_S = 300.0
_VERIFY = "import torch, torchvision, transformers, monai, segment_anything, fastapi, uvicorn"


class Pip(Protocol):
    """How packages are installed; blocks until it is done."""

    def install_torch(self, requirement: str) -> None: ...

    def install(self, requirements: Sequence[str]) -> None: ...


class Installer:
    """Finds out what is missing, and installs it once the user agrees."""

    def __init__(
        self,
        pip: Pip,
        python: str,
        version_of: Callable[[str], str] = importlib.metadata.version,
    ) -> None:
        """
        Args:
            python: the interpreter that verifies the installation, in a process of its own.
            version_of: a distribution's version; raises PackageNotFoundError.
        """
        self._pip = pip
        self._python = python
        self._version_of = version_of

    def missing(self) -> list[str]:
        """Requirements that are not met; nothing is imported to find out."""
        return [name for name in (*TORCH, *PACKAGES) if not self._is_met(name)]

    def question(self) -> str:
        """What the user is asked before anything is installed."""
        missing = self.missing()
        size = TORCH_SIZE if set(missing) & set(TORCH) else PACKAGES_SIZE
        names = ", ".join(_name(requirement) for requirement in missing)
        return (
            "To answer on this computer, Sim4Seg needs further Python packages in Slicer:\n\n"
            f"{names}\n\nDownload: {size}. It can take some minutes. Install them now?"
        )

    def install(self, tell: Callable[[str], None]) -> None:
        """Install what is missing and verify it; main thread only.

        Args:
            tell: hears what is being done.

        Raises:
            Sim4SegError: if it fails.
        """
        missing = self.missing()
        try:
            if any(requirement in TORCH for requirement in missing):
                tell("Installing PyTorch")
                self._pip.install_torch(TORCH[0].removeprefix("torch"))
            if others := [requirement for requirement in missing if requirement in PACKAGES]:
                tell(f"Installing {', '.join(_name(requirement) for requirement in others)}")
                self._pip.install(others)
        except Sim4SegError:
            raise
        except Exception as error:
            raise Sim4SegError(
                f"the packages could not be installed ({error}); check the connection and proxy, "
                "then press Apply again"
            ) from error
        tell("Checking the installation")
        self._verify()

    def _is_met(self, requirement: str) -> bool:
        name, _, floor = requirement.partition(">=")
        try:
            found = self._version_of(_name(name))
        except importlib.metadata.PackageNotFoundError:
            return False
        return _numbers(found) >= _numbers(floor)

    def _verify(self) -> None:
        try:
            done = subprocess.run(
                [self._python, "-c", _VERIFY], capture_output=True, text=True, timeout=_VERIFY_S
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Sim4SegError(f"the installation cannot be checked: {error}") from error
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["no message"]
            raise Sim4SegError(
                f"the installed packages do not work ({last[0]}); restart Slicer, and if that does "
                "not help install PyTorch anew with the module PyTorch Utils"
            )


class SlicerPip:
    """pip as Slicer offers it."""

    def install_torch(self, requirement: str) -> None:
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
        if logic.installTorch(askConfirmation=False, torchVersionRequirement=requirement) is None:
            raise Sim4SegError("PyTorch was not installed; press Apply to try again")

    def install(self, requirements: Sequence[str]) -> None:
        """One run of pip for all."""
        import slicer

        try:
            import slicer.packaging as packaging
        except ImportError:
            packaging = slicer.util
        packaging.pip_install(" ".join(requirements))


def _name(requirement: str) -> str:
    return re.split(r"[\[><=]", requirement)[0]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.split("+")[0])[:3])
