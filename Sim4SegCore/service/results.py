"""A Result as the message that the client fetches."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np

from ..case import Result
from ..output import result_to_dict
from .jobs import Job
from .protocol import (
    PROTOCOL_VERSION,
    ResultMessage,
    SimilarityForm,
    WireArray,
    encode_array,
)


def result_message(job: Job, result: Result) -> bytes:
    """ResultMessage as JSON."""
    message = ResultMessage(
        job=job.id,
        protocol=PROTOCOL_VERSION,
        result=result_to_dict(result),
        masks=[encode_array(finding.mask[np.newaxis]) for finding in result.findings],
        similarity=_similarity(result, job.request.similarity),
        slice=job.request.slice or 0,
        geometry=job.image.description.geometry,
    )
    return json.dumps(shallow(message), allow_nan=False, ensure_ascii=False).encode()


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
