"""An answer made ready for the scene, away from the main thread. No MRML, no Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from Sim4SegCore.case import Case

from .answers import CheckedAnswer, check_answer
from .boxes import MaskBox, box_of_slice, box_of_volume, digest
from .corrected import result_with_masks, slice_document, volume_document
from .points import Points, Touched, keep_touched, sentence

if TYPE_CHECKING:
    from .volumes import SourceImage


@dataclass(frozen=True)
class PreparedAnswer:
    """What is left to do is to hand it to MRML.

    Attributes:
        document: as in result.json.
        boxes: of each finding, in voxels of the whole volume; None of an empty mask.
        digests: of the boxes, see `boxes.digest`.
        similarity: float32 0..1 (slices, rows, columns), None if it did not come.
        first_slice: where `similarity` lies along the sent image's first axis.
    """

    document: dict[str, Any]
    boxes: tuple[MaskBox | None, ...]
    digests: tuple[str, ...]
    similarity: NDArray[np.float32] | None
    first_slice: int


def prepare(answer: Any, image: SourceImage, points: Points) -> PreparedAnswer:
    """
    Args:
        answer: a `RemoteAnswer`.
        image: what was asked about.
        points: choose among the parts of the masks.

    Raises:
        Sim4SegError: if the answer does not fit the image.
    """
    checked = check_answer(answer, image.voxels.shape)
    document, masks, reason = checked.document, checked.masks, ""
    if points:
        touched = [_touched(mask, points, checked.first_slice) for mask in masks]
        masks, reason = tuple(each.mask for each in touched), sentence(touched, points.elsewhere)
    if points or any(image.offset):
        document = _document(checked, masks, image, reason)
    boxes = tuple(_box(mask, checked.first_slice, image) for mask in masks)
    digests = tuple(digest(box) for box in boxes if box is not None)
    return PreparedAnswer(document, boxes, digests, checked.similarity, checked.first_slice)


def _touched(mask: NDArray[np.bool_], points: Points, first: int) -> Touched:
    """Points count from the sent image's first slice, the mask from its own."""

    def shifted(places: tuple[tuple[int, int, int], ...]) -> tuple[tuple[int, int, int], ...]:
        return tuple((k - first, j, i) for k, j, i in places if 0 <= k - first < len(mask))

    return keep_touched(mask, Points(shifted(points.positive), shifted(points.negative)))


def _document(
    answer: CheckedAnswer, masks: tuple[NDArray[np.bool_], ...], image: SourceImage, reason: str
) -> dict[str, Any]:
    if "volume" in answer.document:
        assert image.geometry is not None
        return volume_document(
            answer.document, masks, image.voxels, image.geometry, reason, image.offset
        )
    case = Case(image.voxels[answer.first_slice], image.geometry, window=image.window)
    similarity = None if answer.similarity is None else answer.similarity[0]
    flat = [mask[0] for mask in masks]
    result = result_with_masks(answer.document, flat, similarity, case, reason)
    return slice_document(result, answer.document)


def _box(mask: NDArray[np.bool_], first: int, image: SourceImage) -> MaskBox | None:
    if image.plane is not None:
        return box_of_slice(mask[0], image.plane, image.shape)
    k, j, i = image.offset
    return box_of_volume(mask, (k + first, j, i))
