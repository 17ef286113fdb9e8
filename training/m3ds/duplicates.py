"""Near-duplicates across splits, found on thumbnails."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .source import SPLITS, Split

CHUNK = 1024


def cross_split_duplicates(
    thumbnails: NDArray[np.float32], splits: Sequence[Split], threshold: float
) -> dict[int, int]:
    """Images to leave out, each with the one in a more protected split that it repeats.

    Test is never touched, validation gives way to test, training to both.

    Args:
        thumbnails: (N, 576), rows of mean 0 and norm 1.
        splits: of each row.
        threshold: correlation above which two images are the same.
    """
    labels = np.array(splits)
    removed: dict[int, int] = {}
    for position in (1, 0):
        rows = np.flatnonzero(labels == SPLITS[position])
        kept = np.flatnonzero(np.isin(labels, SPLITS[position + 1 :]))
        kept = np.setdiff1d(kept, list(removed))
        if not kept.size:
            continue
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]
            correlation = thumbnails[chunk] @ thumbnails[kept].T
            nearest = correlation.argmax(axis=1)
            found = correlation[np.arange(len(chunk)), nearest] > threshold
            pairs = zip(chunk[found], kept[nearest[found]], strict=True)
            removed |= {int(row): int(other) for row, other in pairs}
    return removed
