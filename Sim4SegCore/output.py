"""A Result as JSON, and as a folder that is written completely or not at all.

result.json looks the same from the command line, the service, Slicer and batches.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import re
import shutil
import unicodedata
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .case import SCHEMA_VERSION, Diagnosis, Familiarity, Finding, Result
from .errors import Sim4SegError
from .io import explain_os_error, quoted, write_mask
from .report.terminology import terminology

RESULT_FILE = "result.json"
OVERLAY_FILE = "overlay.png"
SIMILARITY_FILE = "similarity.png"
EXPLANATION_FILE = "explanation.png"
REPORT_FILE = "report.md"

_MAX_SLUG = 60


def result_to_dict(result: Result) -> dict[str, Any]:
    """Everything in a result that is text or number, ready for strict JSON.

    Masks are given as the names of the files that `save_result` writes. `size` is
    [width, height] in pixels and `spacing_mm` [i, j, k]; unknown values are None, and so are
    numbers that are not finite. Of the input's path only the last name is kept. `report` is
    `report.structure.Report`, its `text` a short paragraph.
    """
    from .report.build import build_report

    case = result.case
    return {
        "schema_version": SCHEMA_VERSION,
        "query": result.query.text,
        "diagnosis": diagnosis_to_dict(result.diagnosis),
        "familiarity": familiarity_to_dict(result.familiarity),
        "reasoning": result.reasoning,
        "findings": [
            finding_to_dict(finding, name)
            for finding, name in zip(result.findings, finding_mask_names(result), strict=True)
        ],
        "samples": {
            "answers": [
                {**dataclasses.asdict(answer), "log_probability": rounded(answer.log_probability)}
                for answer in result.samples.answers
            ],
            "masks": [
                {
                    "name": candidate.name,
                    "area_px": int(candidate.mask.sum()),
                    "estimated_iou": rounded(candidate.estimated_iou),
                }
                for candidate in result.samples.masks
            ],
        },
        "claims": [dataclasses.asdict(claim) for claim in result.claims],
        "report": _plain(build_report(result)),
        "warnings": list(result.warnings),
        "model": {
            "name": result.model.name,
            "sha256": result.model.sha256,
            "revision": result.model.revision,
        },
        "timing": {stage: rounded(seconds) for stage, seconds in result.timing.items()},
        "input": {
            "file": None if case.source is None else quoted(case.source).strip('"'),
            "size": [case.size[1], case.size[0]],
            "spacing_mm": None
            if case.geometry is None
            else [rounded(distance) for distance in case.geometry.spacing],
            "modality": case.modality,
        },
    }


def diagnosis_to_dict(diagnosis: Diagnosis) -> dict[str, Any]:
    """A diagnosis, ready for strict JSON."""
    return {
        "label": diagnosis.label,
        "confidence": rounded(diagnosis.confidence),
        "uncertain": diagnosis.uncertain,
        "alternatives": [
            {"label": label, "confidence": rounded(confidence)}
            for label, confidence in diagnosis.alternatives
        ],
    }


def familiarity_to_dict(familiarity: Familiarity | None) -> dict[str, Any] | None:
    """Whether the image is outside what the model was trained on; None if that is unknown."""
    if familiarity is None:
        return None
    return {
        "is_outside": familiarity.is_outside,
        "distance": rounded(familiarity.distance),
        "limit": rounded(familiarity.limit),
        "untaught_modality": familiarity.untaught_modality,
    }


def finding_to_dict(finding: Finding, mask_name: str) -> dict[str, Any]:
    """A finding, ready for strict JSON; its mask is the file of that name.

    `code` is the structure's in SNOMED CT, or a private one where our terminology lacks it.
    """
    confidence = finding.mask_confidence
    return {
        "label": finding.label,
        "code": dataclasses.asdict(terminology().structure(finding.label).code),
        "present": bool(finding.present),
        "confidence": rounded(finding.confidence),
        "mask_confidence": None if confidence is None else rounded(confidence),
        "mask": mask_name,
        "measurements": {key: rounded(value) for key, value in finding.measurements.items()},
    }


def save_result(result: Result, folder: str | Path, overwrite: bool = False) -> Path:
    """Write masks, pictures, report.md and result.json into a folder.

    `mask.*` holds the union of all findings in the input's own geometry; with several
    findings each has its own `mask_<label>.*` as well. The pictures are overlay.png,
    similarity.png and explanation.png. Of a DICOM image there are also `mask.dcm` and
    `report.dcm`, or a warning says why its header does not allow them. A failure or an
    interruption at any moment leaves the folder as it was before.

    Args:
        folder: created with its parents if missing.
        overwrite: allow a folder that is not empty; only the files named above are replaced.

    Returns:
        The folder.

    Raises:
        Sim4SegError: if the folder cannot be used or the disk is full.
    """
    return save_folder(Path(folder), overwrite, lambda place: _write_files(result, place))


def save_folder(folder: Path, overwrite: bool, write_files: Callable[[Path], list[str]]) -> Path:
    """Bring files into a folder all together or not at all.

    Args:
        folder: created with its parents if missing.
        overwrite: allow a folder that is not empty; only files of the same names are replaced.
        write_files: writes into the folder that it is given and has to create, and names what it
            wrote, the file that proves completeness last.

    Returns:
        The folder.

    Raises:
        Sim4SegError: if the folder cannot be used or the disk is full.
    """
    check_output_folder(folder, overwrite)
    with _explained(folder), _removed_on_failure(_missing_parents(folder)):
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Inside a folder that exists: its parent may be read-only or another disk (a mount).
        home = folder if folder.exists() else folder.parent
        staging = home / f".sim4seg-{uuid.uuid4().hex}"
        try:
            names = write_files(staging / "new")
            if folder.exists():
                _replace_files(names, staging, folder)
            else:
                (staging / "new").rename(folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return folder


def check_output_folder(folder: str | Path, overwrite: bool = False) -> None:
    """Fail before any work is done if a result could not be saved there.

    Raises:
        Sim4SegError: if the path is a file, cannot be created or written, or holds files and
            `overwrite` is False.
    """
    folder = Path(folder)
    with _explained(folder):
        if not os.path.lexists(folder):
            _check_can_create(folder)
            return
        if not folder.is_dir():
            raise Sim4SegError(
                f"cannot write into {quoted(folder)}: it is a file or broken link, not a folder; "
                "choose another output folder"
            )
        if not _is_writable(folder):
            raise _not_writable(folder)
        if not overwrite and any(folder.iterdir()):
            raise Sim4SegError(
                f"the output folder {quoted(folder)} is not empty; "
                "choose another one or use --overwrite"
            )


def mask_name(result: Result) -> str:
    """File name of the union of all masks."""
    return f"mask{result.case.mask_suffix}"


def finding_mask_names(result: Result) -> list[str]:
    """File name of each finding's own mask, unique even on case-insensitive disks."""
    if len(result.findings) <= 1:
        return [mask_name(result) for _ in result.findings]
    slugs: list[str] = []
    for finding in result.findings:
        slug = base = _slug(finding.label)
        number = 2
        while slug in slugs:
            slug = f"{base}-{number}"
            number += 1
        slugs.append(slug)
    return [f"mask_{slug}{result.case.mask_suffix}" for slug in slugs]


# --------------------------------------------------------------------------- words and numbers


def rounded(value: float) -> float | None:
    """Six significant digits; None for what JSON cannot hold."""
    number = float(value)
    return float(f"{number:.6g}") if math.isfinite(number) else None


def _slug(label: str) -> str:
    plain = unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_MAX_SLUG].strip("-") or "finding"


def _plain(value: Any) -> Any:
    """Data of a report as strict JSON takes it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {entry.name: _plain(getattr(value, entry.name)) for entry in fields}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, str | bool | int) else rounded(value)


# --------------------------------------------------------------------------- writing


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise explain_os_error(error, folder, "write") from None
    except ValueError as error:
        if "null" not in str(error):
            raise
        raise Sim4SegError(f"{quoted(folder)} is not a valid folder name; choose another") from None


def _is_writable(folder: Path) -> bool:
    effective = os.access in os.supports_effective_ids
    return os.access(folder, os.W_OK | os.X_OK, effective_ids=effective)


def _not_writable(folder: Path) -> Sim4SegError:
    return Sim4SegError(
        f"cannot write into {quoted(folder)}: no permission or read-only; "
        "choose another output folder"
    )


def _check_can_create(folder: Path) -> None:
    # Impossible names count as missing above, and are only refused by a closer look.
    with contextlib.suppress(FileNotFoundError):
        folder.lstat()
    ancestor = folder.absolute().parent
    while not os.path.lexists(ancestor):
        ancestor = ancestor.parent
    if not ancestor.is_dir():
        raise Sim4SegError(
            f"cannot create {quoted(folder)}: {quoted(ancestor)} is a file, not a folder; "
            "choose another output folder"
        )
    if not _is_writable(ancestor):
        raise _not_writable(ancestor)


def _missing_parents(folder: Path) -> list[Path]:
    """Parents that do not exist yet, deepest first."""
    return [parent for parent in folder.absolute().parents if not parent.exists()]


@contextlib.contextmanager
def _removed_on_failure(folders: list[Path]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for folder in folders:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def _write_files(result: Result, folder: Path) -> list[str]:
    """Write everything into a new folder.

    Returns:
        The files' names, result.json last: where it stands, the rest is complete.
    """
    folder.mkdir(parents=True)
    masks = {mask_name(result): result.mask}
    for finding, name in zip(result.findings, finding_mask_names(result), strict=True):
        masks.setdefault(name, finding.mask)
    for name, mask in masks.items():
        write_mask(mask, result.case, folder / name)
    pictures = _write_pictures(result, folder)
    objects, result = _write_dicom(result, folder)
    _write_report(result, folder)
    text = json.dumps(result_to_dict(result), indent=2, allow_nan=False)
    (folder / RESULT_FILE).write_text(text + "\n", encoding="utf-8")
    return [*masks, *pictures, *objects, REPORT_FILE, RESULT_FILE]


def _write_pictures(result: Result, folder: Path) -> list[str]:
    from .painting import save_png
    from .rendering import overlay, similarity_picture
    from .report.explanation import explanation_picture

    save_png(overlay(result.case, result), folder / OVERLAY_FILE)
    save_png(similarity_picture(result), folder / SIMILARITY_FILE)
    save_png(explanation_picture(result), folder / EXPLANATION_FILE)
    return [OVERLAY_FILE, SIMILARITY_FILE, EXPLANATION_FILE]


def _write_dicom(result: Result, folder: Path) -> tuple[list[str], Result]:
    """The files' names, and the result with a warning if there are none."""
    if result.case.dicom_frame is None or result.case.source is None:
        return [], result
    from .report.dicom import write_dicom

    try:
        return write_dicom(result, folder), result
    except Sim4SegError as error:
        warning = f"no mask.dcm and report.dcm could be written: {error}"
        return [], dataclasses.replace(result, warnings=(*result.warnings, warning))


def _write_report(result: Result, folder: Path) -> None:
    from .report.build import build_report
    from .report.markdown import to_markdown

    text = to_markdown(build_report(result), result.query.text)
    (folder / REPORT_FILE).write_text(text, encoding="utf-8")


def _replace_files(names: list[str], staging: Path, folder: Path) -> None:
    """Move new files over old ones; on failure put every old one back."""
    for name in names:
        if (folder / name).is_dir():
            raise Sim4SegError(
                f"cannot replace {quoted(folder / name)}: it is a folder; "
                "choose another output folder"
            )
    new, old = staging / "new", staging / "old"
    old.mkdir()
    try:
        for name in names:
            if os.path.lexists(folder / name):
                (folder / name).replace(old / name)
            (new / name).replace(folder / name)
    except BaseException:
        # Judged by what lies where, since an interruption can fall between any two steps.
        for name in names:
            if os.path.lexists(old / name):
                (old / name).replace(folder / name)
            elif not os.path.lexists(new / name):
                (folder / name).unlink(missing_ok=True)
        raise
