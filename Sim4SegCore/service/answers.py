"""Answers as the client gets them, and results made of them again. Needs numpy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..case import (
    Case,
    CheckedClaim,
    Diagnosis,
    Familiarity,
    Finding,
    MaskCandidate,
    ModelIdentity,
    Query,
    Result,
    SampledAnswer,
    Samples,
)
from ..errors import Sim4SegError
from ..volume import KeySlice, SliceScore, VolumeCase, VolumeResult
from ..volume.result import Cleaning
from ..volume.slice_view import view_slices
from ..volume.windows import Window
from .protocol import WireArray, decode_array, pick
from .transport import own_problem


@dataclass(frozen=True)
class RemoteAnswer:
    """What came back.

    Attributes:
        document: exactly result.json; `input.file` is None, since names of files are not sent.
        masks: bool of each finding, (1, H, W) of a slice, (k, j, i) of a volume.
        similarity: float32 (1, H, W), 0..1, or None if it was not asked for; None of a volume.
        slice: where the arrays lie along the image's first axis.
        candidates: bool (1, H, W) of each of `document["samples"]["masks"]`, or None if they were
            not asked for; None of a volume.
    """

    document: dict[str, Any]
    masks: tuple[NDArray[np.bool_], ...]
    similarity: NDArray[np.float32] | None
    slice: int
    candidates: tuple[NDArray[np.bool_], ...] | None = None

    def to_result(self, case: Case) -> Result:
        """The same as a `Result` about the Case that was asked about; numbers have six digits.

        The masks that were combined are part of it only if `candidates` were asked for.

        Raises:
            Sim4SegError: if the similarity map was not asked for, or the case is another one.
        """
        if self.similarity is None:
            raise Sim4SegError("ask with similarity='float32' to get a complete result")
        if self.similarity.shape[1:] != case.size:
            raise Sim4SegError("this answer is about an image of another size")
        document = self.document
        return Result(
            case=case,
            query=Query(document["query"]),
            diagnosis=_diagnosis(document["diagnosis"]),
            reasoning=document["reasoning"],
            findings=tuple(
                _finding(entry, mask[0])
                for entry, mask in zip(document["findings"], self.masks, strict=True)
            ),
            similarity=self.similarity[0],
            model=ModelIdentity(**document["model"]),
            timing=document["timing"],
            warnings=tuple(document["warnings"]),
            claims=tuple(CheckedClaim(**claim) for claim in document["claims"]),
            samples=self._samples(),
            familiarity=_familiarity(document),
        )

    def to_volume_result(self, volume: VolumeCase) -> VolumeResult:
        """The same as a `VolumeResult` about the volume that was asked about.

        Numbers have six digits, and of the key slices' diagnoses the alternatives are missing.
        What was odd about the file, which is not sent, stands before the other warnings again.

        Raises:
            Sim4SegError: if this answer is about a slice, or the volume is another one.
        """
        document = self.document
        if "volume" not in document:
            raise Sim4SegError("this answer is about one slice; ask with mode='slices'")
        if any(mask.shape != volume.shape for mask in self.masks):
            raise Sim4SegError("this answer is about a volume of another size")
        part = document["volume"]
        return VolumeResult(
            case=volume,
            query=Query(document["query"]),
            diagnosis=_diagnosis(document["diagnosis"]),
            reasoning=document["reasoning"],
            findings=tuple(
                _finding(entry, mask)
                for entry, mask in zip(document["findings"], self.masks, strict=True)
            ),
            model=ModelIdentity(**document["model"]),
            view=view_slices(volume.geometry, volume.shape, part["plane"]),
            window=Window(**part["window"]),
            slices=tuple(SliceScore(**score) for score in part["slices"]),
            key_slices=tuple(_key_slice(entry) for entry in part["key_slices"]),
            cleaning=Cleaning(**part["cleaning"]),
            mode=part["mode"],
            planes=tuple(part.get("planes", ())),  # services before schema 2.2 do not tell
            is_complete=part["is_complete"],
            timing=document["timing"],
            warnings=(*volume.warnings, *document["warnings"]),
            familiarity=_familiarity(document),
        )

    def _samples(self) -> Samples:
        values = self.document["samples"]
        return Samples(
            answers=tuple(SampledAnswer(**answer) for answer in values["answers"]),
            masks=tuple(
                MaskCandidate(entry["name"], mask[0], entry["estimated_iou"])
                for entry, mask in zip(values["masks"], self.candidates or (), strict=False)
            ),
        )


def remote_answer(values: Mapping[str, Any]) -> RemoteAnswer:
    """From a ResultMessage in JSON.

    Raises:
        ServiceError: if it is none that this client can read.
    """
    try:
        similarity, candidates = values["similarity"], values.get("candidates")
        return RemoteAnswer(
            document=values["result"],
            masks=_arrays(values["masks"]),
            similarity=None if similarity is None else _similarity(pick(WireArray, similarity)),
            slice=values["slice"],
            candidates=None if candidates is None else _arrays(candidates),
        )
    except KeyError:
        raise own_problem(
            "version",
            "The service's result cannot be read",
            "Use the same version of Sim4Seg on both sides.",
        ) from None


def _arrays(values: list[dict[str, Any]]) -> tuple[NDArray[Any], ...]:
    return tuple(decode_array(pick(WireArray, value)) for value in values)


def _similarity(wire: WireArray) -> NDArray[np.float32]:
    array = decode_array(wire)
    scale = np.float32(255 if array.dtype == np.uint8 else 1)
    return np.asarray(array / scale, np.float32)


def _diagnosis(values: Mapping[str, Any]) -> Diagnosis:
    others = tuple((item["label"], item["confidence"]) for item in values["alternatives"])
    return Diagnosis(values["label"], values["confidence"], others, values["uncertain"])


def _familiarity(document: Mapping[str, Any]) -> Familiarity | None:
    values = document.get("familiarity")  # services before schema 2.1 do not tell
    if values is None:
        return None
    # Services before schema 2.2 do not tell the modality.
    return Familiarity(values["distance"], values["limit"], values.get("untaught_modality"))


def _finding(values: Mapping[str, Any], mask: NDArray[np.bool_]) -> Finding:
    return Finding(
        values["label"],
        values["present"],
        values["confidence"],
        mask,
        values["measurements"],
        values["mask_confidence"],
    )


def _key_slice(values: Mapping[str, Any]) -> KeySlice:
    return KeySlice(
        index=values["index"],
        reason=values["reason"],
        weight=values["weight"],
        diagnosis=Diagnosis(values["diagnosis"], values["confidence"]),
        reasoning=values["reasoning"],
    )
