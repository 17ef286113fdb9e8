"""Defects in Slicer's log: what and where, without values, which may be of a patient."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path


def log_defect(error: Exception) -> None:
    """Write the kind of an error and the lines that it went through."""
    frames = traceback.extract_tb(error.__traceback__)
    places = (f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    logging.error("Sim4Seg: %s at %s", type(error).__name__, " > ".join(places))
