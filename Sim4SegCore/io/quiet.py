"""Libraries complain by quoting header values, which identify patients; here they are silenced.

The switches belong to the whole process, so that one file is read at a time.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

_LOCK = threading.RLock()


@contextlib.contextmanager
def quiet_python() -> Iterator[None]:
    """Keep PIL's and pydicom's warnings out of the user's terminal and logs."""
    logger = logging.getLogger("pydicom")
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        was_disabled, logger.disabled = logger.disabled, True
        try:
            yield
        finally:
            logger.disabled = was_disabled


@contextlib.contextmanager
def quiet_itk(including_stderr: bool = False) -> Iterator[None]:
    """Keep ITK's warnings out of the terminal, and what its C++ prints instead of raising."""
    import SimpleITK

    with _LOCK, _stderr_to_nowhere() if including_stderr else contextlib.nullcontext():
        before = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
        SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
        try:
            yield
        finally:
            SimpleITK.ProcessObject.SetGlobalWarningDisplay(before)


@contextlib.contextmanager
def _stderr_to_nowhere() -> Iterator[None]:
    """C++ prints to the file descriptor, past sys.stderr."""
    try:
        saved = os.dup(2)
    except OSError:  # a windowed program may have no stderr at all
        yield
        return
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
