"""Every error that a client can see: a code, a status, one sentence and what to do.

And defects, of which the log alone says where they are.
"""

from __future__ import annotations

import traceback
from pathlib import Path

from .protocol import Problem

_KINDS: dict[str, tuple[int, str, str]] = {
    "malformed": (400, "Malformed request", "Send what the OpenAPI document describes."),
    "truncated": (400, "Incomplete body", "Send the image again, or resume the upload."),
    "unauthorized": (401, "No valid token", "Send 'Authorization: Bearer TOKEN'."),
    "forbidden": (403, "Not allowed", "Use a token whose role allows this."),
    "not_found": (404, "No such address", "See /v1/openapi.json for what there is."),
    "image_unknown": (404, "Unknown image", "Send the image to /v1/images."),
    "image_missing": (409, "Image not here", "Send the image to /v1/images, then ask again."),
    "job_unknown": (404, "Unknown job", "Ask again; results are kept for a limited time."),
    "upload_unknown": (404, "Unknown upload", "Start the upload again."),
    "method_not_allowed": (405, "Method not allowed", "See /v1/openapi.json."),
    "not_finished": (409, "Not finished", "Wait for the job's end, then fetch the result."),
    "no_result": (409, "No result", "Look at the job's problem and ask again."),
    "wrong_offset": (409, "Wrong offset", "Continue from the offset that GET reports."),
    "too_large": (413, "Too large", "Send a smaller image or a part of it."),
    "unsupported_encoding": (415, "Unsupported encoding", "Use identity or gzip."),
    "invalid": (422, "Invalid request", "Correct the named field."),
    "hash_mismatch": (422, "Wrong hash", "Send the image again; it changed on the way."),
    "unsupported": (422, "Not supported", "Ask about what the model can do."),
    "rate_limited": (429, "Too many requests", "Wait a second, then go on more slowly."),
    "queue_full": (429, "Queue is full", "Wait until some of your jobs have ended."),
    "busy": (429, "Not enough room", "Wait until other uploads have ended."),
    "headers_too_large": (431, "Headers too large", "Send shorter headers."),
    "internal": (500, "Internal error", "Look into the service's log."),
    "model_failed": (500, "The model cannot be used", "Name another model, or repair this one."),
    "out_of_memory": (503, "Out of memory", "Use a smaller image or model, or another device."),
    "stopping": (503, "Stopping", "Ask again when the service has been restarted."),
    "timed_out": (504, "Timed out", "Allow more time, or ask when the service is less busy."),
    "storage": (507, "No storage", "Make room on the service's disk, then send it again."),
    "cancelled": (409, "Cancelled", "Ask again if it was not meant."),
}


_FRAMES = 12


class ServiceProblemError(Exception):
    """Carries a Problem to the client."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def problem(code: str, detail: str) -> Problem:
    """A problem of a known kind.

    Args:
        detail: one sentence that repeats nothing of what the client sent but names and numbers.
    """
    status, title, action = _KINDS[code]
    return Problem(status=status, code=code, title=title, detail=detail, action=action)


def refuse(code: str, detail: str) -> ServiceProblemError:
    """The exception for `problem(code, detail)`."""
    return ServiceProblemError(problem(code, detail))


def described(error: Exception) -> str:
    """A defect for the log: without its message, which may quote a query, and that a name."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    places = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
    return f"{type(error).__name__} in {' > '.join(places) or 'an unknown place'}"
