"""Whether the installed packages work: imported in a process of its own, while the window lives."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import IO

from Sim4SegCore.errors import Sim4SegError

LIMIT_S = 300.0
POLL_S = 0.05
IMPORTS = "import torch, torchvision, transformers, monai, segment_anything, fastapi, uvicorn"


def verify(python: str, wait: Callable[[], None]) -> None:
    """Import the packages in a process of its own.

    Args:
        wait: called again and again until that is done.

    Raises:
        Sim4SegError: if they do not work.
    """
    with tempfile.TemporaryFile() as said:
        try:
            code = _code_of([python, "-c", IMPORTS], said, wait)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Sim4SegError(f"the installation cannot be checked: {error}") from error
        if code:
            said.seek(0)
            lines = said.read().decode("utf-8", "replace").strip().splitlines()
            raise Sim4SegError(
                f"the installed packages do not work ({(lines or ['no message'])[-1]}); restart "
                "Slicer, or press Apply to install them anew"
            )


def _code_of(command: list[str], said: IO[bytes], wait: Callable[[], None]) -> int:
    until = time.monotonic() + LIMIT_S
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=said,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    ) as process:
        try:
            while True:
                wait()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return process.wait(POLL_S)
                if time.monotonic() > until:
                    raise subprocess.TimeoutExpired(command, LIMIT_S)
        except BaseException:
            process.kill()
            raise
