"""Outlines of masks on images, for people who read images."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import Normal, Stroke
from numpy.typing import NDArray

TRUE_COLOUR, PREDICTED_COLOUR, BOTH_COLOUR = "#ffb000", "#00d5ff", "#ffffff"
GROUND, TEXT, MUTED = "#101214", "#e8eaed", "#9aa0a6"


def outline(axes: Axes, mask: NDArray[np.bool_], colour: str, style: str = "solid") -> None:
    """A mask's border, dark-rimmed so that it shows on any ground.

    Args:
        mask: bool (H, W), of the image that the axes show; nothing is drawn of an empty one.
        style: of the line, as matplotlib names it.
    """
    if not mask.any():
        return
    rows, columns = mask.shape
    # A rim of background lets outlines close where a mask touches the image's edge.
    lines = axes.contour(
        np.arange(-1, columns + 1),
        np.arange(-1, rows + 1),
        np.pad(mask, 1).astype(np.float32),
        levels=[0.5],
        colors=[colour],
        linewidths=1.3,
        linestyles=style,
    )
    lines.set_path_effects([Stroke(linewidth=2.6, foreground="#000000", alpha=0.55), Normal()])
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
