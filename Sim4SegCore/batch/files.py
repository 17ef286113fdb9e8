"""Files and folders that appear whole or not at all, and stay after a power cut."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from ..io import explain_os_error


def replace_file(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` make a file beside `path`, then put it there.

    Raises:
        Sim4SegError: if it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.partial")
    try:
        write(temporary)
        _sync(temporary)
        temporary.replace(path)
    except OSError as error:
        raise explain_os_error(error, path, "write") from error
    finally:
        temporary.unlink(missing_ok=True)


def replace_text(path: Path, text: str) -> None:
    """`replace_file` for text; what is not valid Unicode is written with backslashes.

    Raises:
        Sim4SegError: if it cannot be written.
    """
    data = text.encode("utf-8", "backslashreplace")
    replace_file(path, lambda temporary: _write_bytes(temporary, data))


def replace_folder(target: Path, new: Path) -> None:
    """Put the folder `new` where `target` is.

    Raises:
        OSError: if it cannot be moved.
    """
    for path in new.iterdir():
        _sync(path)
    old = target.with_name(f".{target.name}.old")
    remove_folder(old)
    if target.exists():
        # Removed at its own place, it would be there by halves for a moment.
        target.rename(old)
    new.rename(target)
    _sync(target.parent)
    remove_folder(old)


def remove_folder(folder: Path) -> None:
    """Whether or not it is there; what cannot be removed is left."""
    shutil.rmtree(folder, ignore_errors=True)


def _write_bytes(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _sync(path: Path) -> None:
    """To the disk; Windows has no handles of folders to do that with."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
