"""Sim4Seg: ask a medical image a clinical question; get a mask, a diagnosis and the reasoning.

Importing the package is cheap: torch is loaded when `Sim4Seg` is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .case import Case, Diagnosis, Familiarity, Finding, Geometry, ModelIdentity, Query, Result
from .errors import Sim4SegError
from .scaling_config import ScalingConfig
from .volume import SliceOptions, VolumeCase, VolumeResult

if TYPE_CHECKING:
    from .predictor import Sim4Seg

__version__ = "0.1.0"
__all__ = [
    "Case",
    "Diagnosis",
    "Familiarity",
    "Finding",
    "Geometry",
    "ModelIdentity",
    "Query",
    "Result",
    "ScalingConfig",
    "Sim4Seg",
    "Sim4SegError",
    "SliceOptions",
    "VolumeCase",
    "VolumeResult",
]


def __getattr__(name: str) -> Any:
    if name == "Sim4Seg":
        from .predictor import Sim4Seg

        return Sim4Seg
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
