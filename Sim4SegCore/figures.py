"""matplotlib's figures as pixels and files, never through pyplot, whose global state is neither
cheap nor safe in threads.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .painting import save_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def to_rgb(figure: Figure) -> NDArray[np.uint8]:
    """Draw a figure into uint8 (H, W, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        # Labels may be in a script that the font lacks; boxes are shown, which says enough.
        warnings.filterwarnings("ignore", message="Glyph")
        canvas.draw()
    return np.array(canvas.buffer_rgba(), dtype=np.uint8)[..., :3].copy()


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG.

    Raises:
        OSError: if the file cannot be written.
    """
    save_png(Image.fromarray(to_rgb(figure)), path)
