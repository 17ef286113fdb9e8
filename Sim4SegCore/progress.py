"""How far one query is. Knows nothing of torch, so that those who only listen can import it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Step:
    """One sign of life of the predictor.

    Attributes:
        stage: `encode`, `answer` or `mask`, as in `Result.timing`.
        fraction: of the whole query, 0..1, never falling within one query.
        mask: bool (H, W), a first mask in the case's pixels, where one exists before the end.
    """

    stage: str
    fraction: float
    mask: NDArray[np.bool_] | None = None


Progress = Callable[[Step], None]
"""Called often, on the predictor's thread. What it raises ends the query and leaves the predictor
usable: that is how a query is cancelled."""


class StopAndKeepError(Exception):
    """Raised by a listener to end a volume early and keep what was done until then."""
