"""An answer whose masks were changed afterwards: measured anew, with the reason among the warnings.

No MRML, no Qt, no torch: Core measures and reports as it does behind the service.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from Sim4SegCore.case import Case, Finding, Geometry, Result
from Sim4SegCore.errors import Sim4SegError

from .boxes import Index

Document = dict[str, Any]
_AXES = "kji"


def result_with_masks(
    document: Document,
    masks: Sequence[NDArray[np.bool_]],
    similarity: NDArray[np.float32] | None,
    case: Case,
    reason: str,
) -> Result:
    """An answer about a slice with other masks.

    Args:
        document: as in result.json.
        masks: bool (rows, columns) for each of its findings.
        similarity: float32 (rows, columns), None if it did not come.
        case: the slice.
        reason: why they are other ones; empty if they are not. They are measured in any case.

    Raises:
        Sim4SegError: if the answer is of another version.
    """
    # Here, since scipy and SimpleITK would make every start of Slicer wait.
    from Sim4SegCore.measurements import measure
    from Sim4SegCore.service import RemoteAnswer

    seen = np.zeros(case.size, np.float32) if similarity is None else similarity
    stacked = tuple(mask[np.newaxis] for mask in masks)
    with _same_version():
        result = RemoteAnswer(document, stacked, seen[np.newaxis], 0).to_result(case)
    findings = tuple(
        _with(finding, measure(finding.mask, case), bool(reason)) for finding in result.findings
    )
    warnings = (*result.warnings, reason) if reason else result.warnings
    return dataclasses.replace(result, findings=findings, warnings=warnings)


def slice_document(result: Result, document: Document) -> Document:
    """result.json of `result_with_masks`; what a Result does not hold is taken from the answer."""
    from Sim4SegCore.output import result_to_dict

    kept = {name: document[name] for name in ("samples", "input", "schema_version")}
    names = [finding["mask"] for finding in document["findings"]]
    made = result_to_dict(result)
    findings = [
        {**finding, "mask": name} for finding, name in zip(made["findings"], names, strict=True)
    ]
    return {**document, **made, **kept, "findings": findings}


def volume_document(
    document: Document,
    masks: Sequence[NDArray[np.bool_]],
    voxels: NDArray[Any],
    geometry: Geometry,
    reason: str,
    first: Index = (0, 0, 0),
) -> Document:
    """result.json of an answer about a volume with other masks, or about a part of one.

    Args:
        masks: bool (k, j, i) for each of the findings.
        voxels: (k, j, i) or (k, j, i, 3) that were asked about.
        first: (k, j, i) of their first voxel in the whole volume, from which slices are counted.

    Raises:
        Sim4SegError: if the answer is of another version.
    """
    from Sim4SegCore.regions import region_areas
    from Sim4SegCore.service import RemoteAnswer
    from Sim4SegCore.volume import VolumeCase
    from Sim4SegCore.volume.measuring import measure_volume
    from Sim4SegCore.volume.output import volume_result_to_dict

    case = VolumeCase(voxels, geometry)
    with _same_version():
        result = RemoteAnswer(document, tuple(masks), None, 0).to_volume_result(case)
    findings = []
    for finding in result.findings:
        parts = len(region_areas(finding.mask)[0]) if finding.mask.any() else 0
        measured = measure_volume(finding.mask, case, parts)
        findings.append(_with(finding, measured, bool(reason)))
    _, down, across = result.view.spacing
    planes = result.view.of(np.logical_or.reduce(masks))
    areas = {
        result.view.index(number): float(np.count_nonzero(plane)) * down * across
        for number, plane in enumerate(planes)
    }
    shift = first[_AXES.index(document["volume"]["axis"])]
    warnings = [*result.warnings, *([reason] if reason else [])]
    if shift and result.warnings:
        warnings.append(f"slices in these warnings are counted from the region's first, {shift}")
    made = volume_result_to_dict(
        dataclasses.replace(
            result,
            findings=tuple(findings),
            slices=tuple(
                dataclasses.replace(score, index=score.index + shift, area_mm2=areas[score.index])
                for score in result.slices
            ),
            key_slices=tuple(
                dataclasses.replace(key, index=key.index + shift) for key in result.key_slices
            ),
            warnings=tuple(warnings),
        )
    )
    return {**document, **made, "input": document["input"]}


@contextmanager
def _same_version() -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError):
        raise Sim4SegError(
            "the answer is of another version of Sim4Seg and cannot be measured anew; use the same "
            "version on both sides and ask again"
        ) from None


def _with(finding: Finding, measurements: dict[str, float], is_changed: bool) -> Finding:
    """What was expected of the model's mask says nothing of another one."""
    return dataclasses.replace(
        finding,
        present=bool(finding.mask.any()),
        measurements=measurements,
        mask_confidence=None if is_changed else finding.mask_confidence,
    )
