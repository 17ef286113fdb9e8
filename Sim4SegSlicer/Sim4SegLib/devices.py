"""Graphics cards and their free memory, without loading torch. Waits for a driver: not on the main
thread."""

from __future__ import annotations

import shutil
import subprocess

_QUERY = ["--query-gpu=index,name,memory.free,memory.total", "--format=csv,noheader,nounits"]
_WAIT_S = 10.0
NO_CARD = "No NVIDIA graphics card was found."


def describe_devices() -> str:
    """One line for each graphics card."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return NO_CARD
    try:
        done = subprocess.run(
            [program, *_QUERY],
            capture_output=True,
            text=True,
            timeout=_WAIT_S,
            check=True,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except (OSError, subprocess.SubprocessError):
        return "The driver of the graphics card does not answer."
    lines = [_line(row) for row in done.stdout.splitlines() if row.count(",") >= 3]
    return "\n".join(lines) or NO_CARD


def _line(row: str) -> str:
    index, rest = row.split(",", 1)
    name, free, total = (part.strip() for part in rest.rsplit(",", 2))
    if not (free.isdigit() and total.isdigit()):
        return f"cuda:{index.strip()}: {name}"
    gigabytes = f"{int(free) / 1024:.1f} of {int(total) / 1024:.0f} GB free"
    return f"cuda:{index.strip()}: {name}, {gigabytes}"
