"""Drawn masks."""

import numpy as np


def disc(size, centre, radius):
    """Bool (H, W), True inside of a circle."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.hypot(rows - centre[0], columns - centre[1]) < radius
