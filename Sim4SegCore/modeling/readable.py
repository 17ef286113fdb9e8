"""Weights that everybody may read who may read what is beside them."""

from __future__ import annotations

import os
from pathlib import Path


def open_to_readers(folder: Path) -> None:
    """Give weight files the mode of other new files; safetensors makes them their owner's alone,
    and a service of another user could not load them."""
    for path in folder.rglob("*.safetensors"):
        open_file_to_readers(path)


def open_file_to_readers(path: Path) -> None:
    """The same for one new file."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(0o666 & ~umask)
