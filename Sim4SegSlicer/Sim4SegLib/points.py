"""Points of Markups as corrections of a mask: parts that they touch are kept, or taken away.

The model was trained without points, so they are not shown to it: a prompt that it never learned to
read would change the mask in ways that nobody has tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .planes import Matrix

REACH = 2
"""Voxels that a point may lie beside a part and still mean it: vessels are thin, mice are not."""
Place = tuple[int, int, int]


@dataclass(frozen=True)
class Points:
    """Places in the sent image, (slice, row, column).

    Attributes:
        positive: belong to what is sought.
        negative: do not.
        elsewhere: how many points lie outside of the sent image, and do not count.
    """

    positive: tuple[Place, ...] = ()
    negative: tuple[Place, ...] = ()
    elsewhere: int = 0

    def __bool__(self) -> bool:
        return bool(self.positive or self.negative)


@dataclass(frozen=True)
class Touched:
    """A mask after its parts were chosen.

    Attributes:
        kept, removed: parts.
        missed: positive points that touch nothing.
    """

    mask: NDArray[np.bool_]
    kept: int
    removed: int
    missed: int


def voxels_of_points(node: Any, ijk_to_world: Matrix) -> NDArray[np.int64]:
    """(N, 3) voxels (k, j, i) in which a Markups node's points lie, if it has any.

    Args:
        node: vtkMRMLMarkupsNode or None; points that are not placed yet do not count.
    """
    if node is None:
        return np.zeros((0, 3), np.int64)
    places = []
    for number in range(node.GetNumberOfControlPoints()):
        if node.GetNthControlPointPositionStatus(number) == node.PositionDefined:
            place = [0.0, 0.0, 0.0]
            node.GetNthControlPointPositionWorld(number, place)
            places.append([*place, 1.0])
    if not places:
        return np.zeros((0, 3), np.int64)
    ijk = np.linalg.solve(ijk_to_world, np.array(places).T)[:3].T
    return np.floor(ijk[:, ::-1] + 0.5).astype(np.int64)


def keep_touched(mask: NDArray[np.bool_], points: Points) -> Touched:
    """Keep the parts of a mask that positive points touch, without those that negative ones touch.

    Without positive points, or if none of them touches anything, all parts but the negative ones
    stay.

    Args:
        mask: bool (slices, rows, columns); parts touch at corners too.
    """
    if not mask.any():
        return Touched(mask, 0, 0, len(points.positive))
    labels = _parts(mask)
    count = int(labels.max())
    wanted = [_near(labels, place) for place in points.positive]
    unwanted = {label for place in points.negative for label in _near(labels, place)}
    kept = {label for found in wanted for label in found} or set(range(1, count + 1))
    kept -= unwanted
    is_kept = np.isin(np.arange(count + 1), sorted(kept))
    missed = sum(not found for found in wanted)
    return Touched(is_kept[labels], len(kept), count - len(kept), missed)


def sentence(touched: Sequence[Touched], elsewhere: int) -> str:
    """What the points did, for the report."""
    removed = sum(each.removed for each in touched)
    kept = sum(each.kept for each in touched)
    text = (
        f"parts of the mask were chosen by points: {kept} kept, {removed} left out; statements of "
        "the reasoning were compared with the whole mask, measurements are of what was kept"
    )
    if missed := sum(each.missed for each in touched):
        text += f"; positive points on nothing that was found: {missed}"
    if elsewhere:
        text += f"; points outside of what was asked about: {elsewhere}"
    return text


def _parts(mask: NDArray[np.bool_]) -> NDArray[np.uint32]:
    import SimpleITK

    image = SimpleITK.GetImageFromArray(mask.astype(np.uint8))
    labels: NDArray[np.uint32] = SimpleITK.GetArrayFromImage(
        SimpleITK.ConnectedComponent(image, True)
    )
    return labels


def _near(labels: NDArray[np.uint32], place: Place) -> set[int]:
    """The part at a place, else those within reach."""
    here = int(labels[place])
    if here:
        return {here}
    around = labels[tuple(slice(max(0, at - REACH), at + REACH + 1) for at in place)]
    return set(np.unique(around[around > 0]).tolist())
