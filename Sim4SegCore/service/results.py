"""A Result as the message that the client fetches."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..case import Result
from ..output import result_to_dict
from ..volume import VolumeResult
from .jobs import Job
from .protocol import (
    PROTOCOL_VERSION,
    ResultMessage,
    SimilarityForm,
    WireArray,
    encode_array,
)


def result_message(job: Job, result: Result | VolumeResult) -> bytes:
    """ResultMessage as JSON."""
    request = job.request
    if isinstance(result, VolumeResult):
        # Where the rest of a volume's room is imported, torch is there.
        from ..volume.output import volume_result_to_dict

        document = volume_result_to_dict(result)
        similarity, candidates = None, None
    else:
        document = result_to_dict(result)
        similarity = _similarity(result, request.similarity)
        candidates = _candidates(result) if request.candidates else None
    message = ResultMessage(
        job=job.id,
        protocol=PROTOCOL_VERSION,
        result=document,
        masks=[_planes(finding.mask) for finding in result.findings],
        similarity=similarity,
        slice=request.slice or 0,
        geometry=job.description.geometry,
        candidates=candidates,
    )
    return json.dumps(shallow(message), allow_nan=False, ensure_ascii=False).encode()


def _planes(mask: NDArray[np.bool_]) -> WireArray:
    """Of a slice or a volume, with the axis of slices first."""
    return encode_array(mask if mask.ndim == 3 else mask[np.newaxis])


def _candidates(result: Result) -> list[WireArray]:
    return [_planes(candidate.mask) for candidate in result.samples.masks]


def _similarity(result: Result, form: SimilarityForm) -> WireArray | None:
    if form == "none":
        return None
    similarity = result.similarity[np.newaxis]
    if form == "uint8":
        return encode_array(np.rint(similarity * 255).astype(np.uint8))
    return encode_array(similarity)


def shallow(message: Any) -> Any:
    """A message as plain values; unlike `dataclasses.asdict` it copies no long text."""
    if dataclasses.is_dataclass(message) and not isinstance(message, type):
        fields = dataclasses.fields(message)
        return {entry.name: shallow(getattr(message, entry.name)) for entry in fields}
    if isinstance(message, list):
        return [shallow(item) for item in message]
    return message
