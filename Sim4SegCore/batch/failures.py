"""Which errors belong to one study, and which end the batch."""

from __future__ import annotations

import errno
import shutil
import traceback
from pathlib import Path

_ALMOST_FULL = 16 << 20


def unexpected(error: Exception) -> str:
    """A defect in words; without its message, which may quote what is in a header."""
    if isinstance(error, MemoryError):
        return "not enough memory; crop or downsample the image, or close other programs"
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"unexpected {type(error).__name__}{place}; please report it"


def ends_batch(error: BaseException, out: Path) -> bool:
    """Whether every later result would fail to be written for the same reason.

    Only the writing of one mask in the geometry of its own input can fail for a reason of its
    own; ITK then says no more than that the file is incomplete.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError):
            return cause.errno != errno.EIO or _is_almost_full(out)
        cause = cause.__cause__ or cause.__context__
    return False


def _is_almost_full(folder: Path) -> bool:
    there = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    return shutil.disk_usage(there).free < _ALMOST_FULL
