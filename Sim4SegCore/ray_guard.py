"""Ends what is left of a Ray cluster whose owner was killed; a script for `ray_cluster`.

Ray's processes end with whoever started them, but for two agents that stay for about a minute and
hold their ports, and its folder stays. Waits until its standard input ends, which it does however
the owner ends.

    python ray_guard.py FOLDER PID PID …
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

PAUSE_S, ATTEMPTS = 5.0, 12


def is_agent(command_line: bytes) -> bool:
    """Whether a process is one of those agents."""
    return b"agent" in command_line.lower()


def end_agents(pids: list[int]) -> None:
    """Kill those that are still there, and still what they were."""
    for pid in pids:
        with contextlib.suppress(OSError):
            if is_agent(Path(f"/proc/{pid}/cmdline").read_bytes()):
                os.kill(pid, signal.SIGKILL)


def remove(folder: Path) -> None:
    """Others that are about to end may still write there, so it may take several attempts."""
    for _ in range(ATTEMPTS):
        time.sleep(PAUSE_S)
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return


if __name__ == "__main__":
    sys.stdin.buffer.read()
    end_agents([int(pid) for pid in sys.argv[2:]])
    remove(Path(sys.argv[1]))
