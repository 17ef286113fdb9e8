"""A VolumeResult as JSON, and as a folder that is written completely or not at all.

result.json has the fields of an image's result, and `volume` beside them.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from ..case import SCHEMA_VERSION, Finding
from ..io import quoted, write_volume_mask
from ..output import (
    OVERLAY_FILE,
    RESULT_FILE,
    diagnosis_to_dict,
    familiarity_to_dict,
    finding_to_dict,
    rounded,
    save_folder,
)
from ..report.wording import RESEARCH_NOTICE, diagnosis_words, listed
from .measuring import millilitres
from .result import KeySlice, SliceScore, VolumeResult


def volume_result_to_dict(result: VolumeResult) -> dict[str, Any]:
    """Everything in a result that is text or number, ready for strict JSON.

    `size` is in voxels along i, j, k and `spacing_mm` alike; slices are counted along the
    volume's own axis that `volume.axis` names. Numbers that are not finite are None. Of the
    input's path only the last name is kept.
    """
    case = result.case
    return {
        "schema_version": SCHEMA_VERSION,
        "query": result.query.text,
        "diagnosis": diagnosis_to_dict(result.diagnosis),
        "familiarity": familiarity_to_dict(result.familiarity),
        "reasoning": result.reasoning,
        "findings": [finding_to_dict(finding, mask_name(result)) for finding in result.findings],
        "samples": {"answers": [], "masks": []},
        "claims": [],
        "report": {"text": volume_report(result)},
        "warnings": list(result.warnings),
        "model": dataclasses.asdict(result.model),
        "timing": {stage: rounded(seconds) for stage, seconds in result.timing.items()},
        "input": {
            "file": None if case.source is None else quoted(case.source).strip('"'),
            "size": list(case.shape[::-1]),
            "spacing_mm": [rounded(distance) for distance in case.geometry.spacing],
            "modality": case.modality,
        },
        "volume": _volume_part(result),
    }


def _volume_part(result: VolumeResult) -> dict[str, Any]:
    return {
        "mode": result.mode,
        "plane": result.view.plane,
        "axis": result.view.index_axis,
        "planes": list(result.planes),
        "is_complete": result.is_complete,
        "window": {
            "low": rounded(result.window.low),
            "high": rounded(result.window.high),
            "name": result.window.name,
        },
        "slice_range": None if result.slice_range is None else list(result.slice_range),
        "key_slices": [_key_slice(key) for key in result.key_slices],
        "slices": [_slice(score) for score in result.slices],
        "cleaning": dataclasses.asdict(result.cleaning),
    }


def _key_slice(key: KeySlice) -> dict[str, Any]:
    return {
        "index": key.index,
        "reason": key.reason,
        "weight": rounded(key.weight),
        "diagnosis": key.diagnosis.label,
        "confidence": rounded(key.diagnosis.confidence),
        "reasoning": key.reasoning,
    }


def _slice(score: SliceScore) -> dict[str, Any]:
    presence = None if score.presence is None else rounded(score.presence)
    return {
        "index": score.index,
        "presence": presence,
        "is_interpolated": score.is_interpolated,
        "area_mm2": rounded(score.area_mm2),
    }


def volume_report(result: VolumeResult) -> str:
    """A short paragraph of plain English: what was found, its size, the diagnosis, the notice."""
    sentences = [_finding_sentence(result, finding) for finding in result.findings]
    if len(result.planes) > 1:
        sentences.append(f"Looked at along {listed(result.planes)} slices, which voted.")
    changed = result.cleaning
    if changed.islands_removed:
        plural = "s" if changed.islands_removed > 1 else ""
        sentences.append(
            f"{changed.islands_removed} small island{plural} ({changed.island_voxels} voxels) "
            "were left out."
        )
    if changed.hole_voxels:
        sentences.append(f"Holes of {changed.hole_voxels} voxels were filled.")
    if result.diagnosis.label:
        slices = ", ".join(str(key.index) for key in result.key_slices)
        words = diagnosis_words(result.diagnosis)
        sentences.append(f"Suggested diagnosis, from slices {slices}: {words}.")
    else:
        sentences.append("No diagnosis is suggested.")
    return " ".join([*sentences, RESEARCH_NOTICE])


def _finding_sentence(result: VolumeResult, finding: Finding) -> str:
    if not finding.present or result.slice_range is None:
        return f"Not found: {finding.label} (probability {finding.confidence:.0%})."
    sizes, (first, last) = finding.measurements, result.slice_range
    return (
        f"Found: {finding.label} (confidence {finding.confidence:.0%}), "
        f"{millilitres(finding)} on slices {result.view.index_axis} = {first} to {last}, "
        f"longest diameter {sizes['longest_diameter_mm']:.3g} mm, in {sizes['regions']:.0f} "
        f"part{'s' if sizes['regions'] > 1 else ''}."
    )


def save_volume_result(result: VolumeResult, folder: str | Path, overwrite: bool = False) -> Path:
    """Write the mask in the input's own geometry, overlay.png and result.json into a folder.

    A failure or an interruption at any moment leaves the folder as it was before.

    Args:
        folder: created with its parents if missing.
        overwrite: allow a folder that is not empty; only the files named above are replaced.

    Returns:
        The folder.

    Raises:
        Sim4SegError: if the folder cannot be used or the disk is full.
    """
    return save_folder(Path(folder), overwrite, lambda place: _write_files(result, place))


def mask_name(result: VolumeResult) -> str:
    """File name of the mask."""
    return f"mask{result.case.mask_suffix}"


def _write_files(result: VolumeResult, folder: Path) -> list[str]:
    from ..figures import save_figure
    from .rendering import montage

    folder.mkdir(parents=True)
    write_volume_mask(result.mask, result.case.geometry, folder / mask_name(result))
    save_figure(montage(result), folder / OVERLAY_FILE)
    text = json.dumps(volume_result_to_dict(result), indent=2, allow_nan=False)
    (folder / RESULT_FILE).write_text(text + "\n", encoding="utf-8")
    return [mask_name(result), OVERLAY_FILE, RESULT_FILE]
