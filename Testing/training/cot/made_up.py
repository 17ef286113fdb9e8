"""Made-up subjects and replies, shared by the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from Sim4SegCore.modeling.answer import UNKNOWN_DIAGNOSIS
from training.cot.subject import Item, Subject
from training.records import Record

Reply = tuple[int, dict[str, str], Any]


def disc(size, centre, radius):
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.hypot(rows - centre[0], columns - centre[1]) < radius


def completion(text: str) -> Reply:
    """A reply as an endpoint gives it, with 1000 prompt and 200 completion tokens."""
    usage = {"prompt_tokens": 1000, "completion_tokens": 200}
    return 200, {}, {"choices": [{"message": {"content": text}}], "usage": usage}


def make_record(masks=None, diagnosis="melanoma", **changes) -> Record:
    fields = {
        "id": "one",
        "dataset": "PH2",
        "image": "one.png",
        "masks": {"skin lesion": "mask.png"} if masks is None else masks,
        "modality": "dermoscopy",
        "body_part": "skin",
        "diagnosis": diagnosis,
        "group": "one",
        "licence": "made up",
    }
    return Record(**{**fields, **changes})


def make_subject(
    mask,
    image=None,
    record=None,
    targets=("skin lesion",),
    labels=("melanoma", "common nevus", "atypical nevus"),
) -> Subject:
    """One target's mask, or a dict of masks; a dark target on a bright ground by default."""
    masks = mask if isinstance(mask, dict) else {targets[0]: mask}
    first = next(iter(masks.values()))
    if image is None:
        image = np.where(first, 60, 160).astype(np.uint8)
    record = record or make_record()
    diagnosis = record.diagnosis or UNKNOWN_DIAGNOSIS
    item = Item(record, "finding", "What is it?", tuple(targets), diagnosis)
    return Subject(item, image, masks, frozenset(labels))


@dataclass
class StubServer:
    """Answers chat completions from a script, or from a function of the request.

    Attributes:
        script: replies for the next requests; when it is used up, `answer` speaks.
        seen: what was asked: path, headers and body.
    """

    url: str = ""
    script: list[Reply] = field(default_factory=list)
    answer: Callable[[dict[str, Any]], Reply] = lambda body: completion("yes")
    seen: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
