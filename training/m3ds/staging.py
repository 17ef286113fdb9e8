"""Output that appears whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from Sim4SegCore.errors import Sim4SegError

from .convert import write_error


@contextmanager
def staged_folder(target: Path, overwrite: bool) -> Iterator[Path]:
    """A new folder beside `target` that takes its place if the block ends without an exception.

    Until then, and after a failure, whatever was at `target` is as it was.

    Raises:
        Sim4SegError: if the target is in use and must not be replaced, or nothing can be written.
    """
    in_use = target.exists() and (not target.is_dir() or any(target.iterdir()))
    if in_use and not overwrite:
        raise Sim4SegError(f"{target} is in use; choose another output or add --overwrite")
    stage = target.with_name(f".{target.name}.{os.getpid()}.partial")
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        stage.mkdir()
        yield stage
        _replace(stage, target, old)
    except OSError as error:
        raise write_error(target, error) from None
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _replace(stage: Path, target: Path, old: Path) -> None:
    if target.exists():
        target.rename(old)
    try:
        stage.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
