"""What evaluation under stress needs of a predictor: `Sim4SegCore.Sim4Seg` offers it.

Masks are asked for as users get them, emptied where the presence score is below its threshold.
"""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from Sim4SegCore import Result


class Predictor(Protocol):
    """Encodes an image once and answers queries about it."""

    def set_image(self, image: NDArray[Any]) -> None:
        """The image of the queries that follow, uint8 (H, W, 3)."""

    def ask(self, query: str) -> Result:
        """Answer one query about it."""
