"""What a run was made with, so that it can be made again."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "transformers", "peft", "segment-anything", "monai", "timm", "numpy", "pillow")


def describe_environment(processes: int) -> dict[str, Any]:
    """Revision, command, versions and machine; no host or user names."""
    return {
        "revision": git_revision(),
        "started": timestamp(),
        "command": ["python", Path(sys.argv[0]).name, *sys.argv[1:]],
        "processes": processes,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "packages": {name: _version(name) for name in PACKAGES},
        "cuda": torch.version.cuda,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "processor": platform.machine(),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def git_revision() -> str:
    """Commit of the working tree, with `+` if it was changed since; `unknown` outside of one."""
    try:
        revision = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return f"{revision}+" if changed else revision


def _git(*arguments: str) -> str:
    output = subprocess.run(
        ["git", *arguments],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    return output.stdout.strip()


def timestamp() -> str:
    """UTC now, ISO 8601, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
