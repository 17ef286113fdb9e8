"""Bytes read the wrong way round look like noise; read the right way they are smooth."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_PLANES = 3
_ROUGH = 0.2
_TIMES_ROUGHER = 4.0


def looks_swapped(voxels: NDArray[Any]) -> bool:
    """Whether 16-bit voxels (k, j, i) are noise, and smooth with their bytes exchanged."""
    if voxels.dtype.kind not in "iu" or voxels.dtype.itemsize != 2:
        return False
    chosen = np.linspace(0, len(voxels) - 1, _PLANES + 2).astype(int)[1:-1]
    planes = voxels[chosen]
    as_read = _roughness(planes)
    return as_read > _ROUGH and as_read > _TIMES_ROUGHER * _roughness(planes.byteswap())


def _roughness(planes: NDArray[Any]) -> float:
    """Mean step between neighbours over the spread of values; about 1.1 for noise."""
    values = planes.astype(np.float64)
    spread = float(values.std())
    return float(np.abs(np.diff(values, axis=-1)).mean()) / spread if spread else 0.0
