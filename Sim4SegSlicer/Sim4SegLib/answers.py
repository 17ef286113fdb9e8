"""The service's answers, checked before anything of them reaches the scene. No MRML, no Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from Sim4SegCore.errors import Sim4SegError

_REQUIRED = ("query", "diagnosis", "reasoning", "findings", "warnings", "model")
_OF_DIAGNOSIS = ("label", "confidence", "alternatives")
_OF_MODEL = ("name", "sha256")
_OF_FINDING = ("label", "present", "confidence", "measurements")


@dataclass(frozen=True)
class CheckedAnswer:
    """An answer that fits the image it is about.

    Attributes:
        document: as in result.json.
        masks: bool (slices, rows, columns) of each finding.
        similarity: float32 0..1 of the same shape, None if it did not come.
        first_slice: where the arrays lie along the sent image's first axis.
    """

    document: dict[str, Any]
    masks: tuple[NDArray[np.bool_], ...]
    similarity: NDArray[np.float32] | None
    first_slice: int


def check_answer(answer: Any, sent_shape: tuple[int, ...]) -> CheckedAnswer:
    """
    Args:
        answer: a `RemoteAnswer`.
        sent_shape: (slices, rows, columns) of the image that was asked about.

    Raises:
        Sim4SegError: if anything is missing or does not fit.
    """
    document = answer.document
    missing = _missing(document)
    if missing or len(document["findings"]) != len(answer.masks):
        raise _unfitting("it lacks " + (", ".join(missing) or "masks"))
    arrays = [*answer.masks, *([] if answer.similarity is None else [answer.similarity])]
    for array in arrays:
        fits = array.ndim == 3 and array.shape[1:] == tuple(sent_shape[1:3])
        if not fits or not 0 <= answer.slice <= sent_shape[0] - len(array):
            raise _unfitting(f"an array of shape {array.shape} for an image of {sent_shape[:3]}")
    masks = tuple(np.asarray(mask, bool) for mask in answer.masks)
    return CheckedAnswer(document, masks, answer.similarity, answer.slice)


def _missing(document: Any) -> list[str]:
    """What report and segments need and the answer does not have."""
    missing = _absent(document, _REQUIRED)
    if missing:
        return missing
    missing += _absent(document["diagnosis"], _OF_DIAGNOSIS, "diagnosis.")
    missing += _absent(document["model"], _OF_MODEL, "model.")
    for number, finding in enumerate(document["findings"]):
        missing += _absent(finding, _OF_FINDING, f"findings.{number}.")
    return missing


def _absent(part: Any, names: tuple[str, ...], place: str = "") -> list[str]:
    known = part if isinstance(part, dict) else {}
    return [place + name for name in names if name not in known]


def _unfitting(reason: str) -> Sim4SegError:
    return Sim4SegError(
        f"the service's answer does not fit the image ({reason}); nothing was added to the scene, "
        "use the same version of Sim4Seg on both sides"
    )
