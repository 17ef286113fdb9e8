"""Defects in words for the log, without messages, which may quote a query, and that a name."""

from __future__ import annotations

import traceback
from pathlib import Path

FRAMES = 12


def described(error: BaseException) -> str:
    """Type and the innermost frames, in the order of their calls."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    places = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
    return f"{type(error).__name__} in {' > '.join(places) or 'an unknown place'}"
