"""A result as a report: every sentence comes from what was measured or answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ..case import CheckedClaim, Diagnosis, Finding, Result, Verdict
from .location import Location, locate
from .orientation import Axes, axes_of
from .structure import (
    Candidate,
    CheckedClaims,
    Impression,
    Report,
    ReportedFinding,
    ReportedMeasurement,
    Technique,
)
from .summary import report_text
from .terminology import Terminology, terminology
from .wording import (
    RESEARCH_NOTICE,
    candidates,
    diagnosis_words,
    length,
    listed,
    one_line,
    other_likely,
    percent,
    sentence,
)

MODALITIES = {
    "CR": "Radiograph", "CT": "CT image", "DMS": "Dermoscopy", "DX": "Radiograph",
    "ES": "Endoscopy", "MG": "Mammogram", "MR": "MR image", "NM": "Nuclear medicine image",
    "OP": "Fundus photograph", "OPT": "Optical coherence tomogram", "PT": "PET image",
    "RF": "Fluoroscopy", "US": "Ultrasound image", "XA": "Angiogram",
}  # fmt: skip
PROJECTIONS = frozenset({"CR", "DX", "MG", "RF", "XA"})
SECTIONAL = frozenset({"CT", "MR", "NM", "PT"})
NOTABLE_CONTRAST = 0.5
"""Difference to the rim, over the spread inside, from which it is worth a word."""
_SMALLEST_SHARE = 0.0005


def build_report(result: Result) -> Report:
    """All sections of a result's report."""
    names = finding_names(result)
    located = [locate(finding.mask, result.case) for finding in result.findings]
    codes = terminology()
    findings = tuple(
        ReportedFinding(
            name=name,
            text=_finding_text(name, finding, location, result.case.modality),
            present=bool(finding.present),
            confidence=float(finding.confidence),
            mask_confidence=finding.mask_confidence,
            location=location,
            code=codes.structure(finding.label).code,
        )
        for name, finding, location in zip(names, result.findings, located, strict=True)
    )
    return Report(
        text=report_text(result),
        technique=_technique(result),
        findings=findings,
        measurements=tuple(_measurements(names, result)),
        impression=_impression(result.diagnosis, codes),
        claims=_claims(result.claims),
        limitations=tuple(_limitations(result)),
    )


def finding_names(result: Result) -> list[str]:
    """Labels on one line; those that occur more than once are numbered."""
    labels = [one_line(finding.label) or "finding" for finding in result.findings]
    total, seen = Counter(labels), Counter[str]()
    names = []
    for label in labels:
        seen[label] += 1
        names.append(f"{label} {seen[label]}" if total[label] > 1 else label)
    return names


# --------------------------------------------------------------------------- technique


def _technique(result: Result) -> Technique:
    case = result.case
    height, width = case.size
    spacing = None if case.geometry is None else case.geometry.spacing[:2]
    axes = axes_of(case.geometry)
    return Technique(
        text=_technique_text(result, axes),
        modality=case.modality,
        size_px=(width, height),
        spacing_mm=spacing,
        plane=axes.plane,
        answers=len(result.samples.answers),
        masks=len(result.samples.masks),
    )


def _technique_text(result: Result, axes: Axes) -> str:
    case = result.case
    height, width = case.size
    kind = MODALITIES.get(case.modality or "", "Image" if case.image.ndim == 2 else "Colour image")
    plane = f", {axes.plane}" if axes.plane else ""
    sentences = [f"{kind}{plane}, {width} × {height} pixels{_pixel_size(result)}."]
    if case.modality is None:
        sentences.append("The file does not state its modality.")
    if axes.of_patient:
        sentences.append("Directions are the patient's; quadrants are those of the image.")
    else:
        sentences.append("Left and right are those of the image.")
    answers, masks = len(result.samples.answers), len(result.samples.masks)
    if answers or masks:
        counts = [_counted(n, word) for n, word in ((answers, "answer"), (masks, "mask")) if n]
        sentences.append(f"The result combines {listed(counts)}.")
    return " ".join(sentences)


def _pixel_size(result: Result) -> str:
    geometry = result.case.geometry
    if geometry is None:
        return ""
    along_i, along_j, _ = geometry.spacing
    return f" of {along_i:.3g} × {along_j:.3g} mm"


# --------------------------------------------------------------------------- findings


def _finding_text(
    name: str, finding: Finding, location: Location | None, modality: str | None
) -> str:
    title = name[:1].upper() + name[1:]
    presence = f"presence {percent(finding.confidence)}"
    if location is None:
        return f"{title}: not found ({presence})."
    sizes = finding.measurements
    parts = _counted(round(sizes["regions"]), "region")
    sentences = [f"{title} ({presence}): {parts} {location.words}, {_size_text(sizes)}."]
    if location.touches:
        borders = listed(location.touches)
        plural = "s" if len(location.touches) > 1 else ""
        sentences.append(
            f"It reaches the {borders} border{plural} of the image and may be larger than seen."
        )
    sentences += _contrast_sentence(sizes, modality)
    if finding.mask_confidence is not None:
        sentences.append(
            f"Expected overlap with the true outline: Dice {finding.mask_confidence:.2f}."
        )
    return " ".join(sentences)


def _size_text(sizes: dict[str, float]) -> str:
    unit = "mm" if "area_mm2" in sizes else "px"
    longest, across = (sizes[f"{side}_diameter_{unit}"] for side in ("longest", "perpendicular"))
    diameters = f"{length(longest, unit)} × {length(across, unit)} {_unit_word(unit)}"
    largest = "the largest " if sizes["regions"] > 1 else ""
    share = sizes["image_fraction"]
    covered = percent(share) if share >= _SMALLEST_SHARE else "less than 0.1 %"
    if _SMALLEST_SHARE <= share < 0.1:
        covered = f"{100 * share:.1f} %"
    return f"{largest}{diameters} (longest × perpendicular diameter), {covered} of the image"


def _contrast_sentence(sizes: dict[str, float], modality: str | None) -> Iterator[str]:
    if "intensity_mean" not in sizes:
        return
    unit = " HU" if modality == "CT" else ""
    mean, spread = sizes["intensity_mean"], sizes["intensity_sd"]
    text = f"Mean {'attenuation' if unit else 'intensity'} {mean:.4g} ± {spread:.3g}{unit}"
    contrast = sizes.get("rim_contrast")
    if contrast is not None:
        if abs(contrast) < NOTABLE_CONTRAST * max(spread, 1e-12):
            text += ", similar to the tissue around it"
        else:
            text += f", {abs(contrast):.3g}{unit} {'above' if contrast > 0 else 'below'} the rim"
    yield f"{text}."


# --------------------------------------------------------------------------- measurements


def _measurements(names: Sequence[str], result: Result) -> Iterator[ReportedMeasurement]:
    kind, intensity = ("attenuation", "HU") if result.case.modality == "CT" else ("intensity", "")
    for name, finding in zip(names, result.findings, strict=True):
        sizes = finding.measurements
        if not finding.present or "regions" not in sizes:
            continue
        unit, square = ("mm", "mm²") if "area_mm2" in sizes else ("px", "px")
        area = sizes["area_mm2"] if unit == "mm" else sizes["area_px"]
        rows = [
            ("area", area, square),
            ("share of the image", 100 * sizes["image_fraction"], "%"),
            ("longest diameter", sizes[f"longest_diameter_{unit}"], unit),
            ("perpendicular diameter", sizes[f"perpendicular_diameter_{unit}"], unit),
            ("regions", sizes["regions"], ""),
        ]
        for key, words in (
            ("intensity_mean", f"mean {kind}"),
            ("intensity_sd", f"standard deviation of the {kind}"),
            ("rim_contrast", f"{kind} above the rim"),
        ):
            if key in sizes:
                rows.append((words, sizes[key], intensity))
        for words, value, its_unit in rows:
            yield ReportedMeasurement(name, words, float(value), its_unit)


# --------------------------------------------------------------------------- impression


def _impression(diagnosis: Diagnosis, codes: Terminology) -> Impression:
    named = candidates(diagnosis) if diagnosis.uncertain else _ranked(diagnosis)
    text = sentence(diagnosis_words(diagnosis))
    others = [] if diagnosis.uncertain else other_likely(diagnosis)
    if others:
        told = [f"{one_line(label)} ({percent(share)})" for label, share in others]
        text += f" Alternatives: {listed(told)}."
    return Impression(
        text=text,
        uncertain=diagnosis.uncertain,
        candidates=tuple(
            Candidate(one_line(label), float(share), codes.diagnosis(label))
            for label, share in named
        ),
    )


def _ranked(diagnosis: Diagnosis) -> list[tuple[str, float]]:
    first = [(diagnosis.label, diagnosis.confidence)] if diagnosis.label else []
    return [*first, *other_likely(diagnosis)]


def _claims(claims: Sequence[CheckedClaim]) -> CheckedClaims:
    def of(verdict: Verdict) -> tuple[CheckedClaim, ...]:
        return tuple(claim for claim in claims if claim.verdict == verdict)

    return CheckedClaims(of("supported"), of("contradicted"), of("not checkable"))


# --------------------------------------------------------------------------- limitations


def _limitations(result: Result) -> Iterator[str]:
    case = result.case
    yield from (sentence(warning) for warning in result.warnings)
    if case.geometry is None:
        yield "Sizes are in pixels: the file does not state the size of a pixel."
    elif case.modality in PROJECTIONS:
        yield "Sizes in a projection are not corrected for magnification."
    if not axes_of(case.geometry).of_patient:
        yield "The file does not state how the image lies in the patient."
    if case.modality in SECTIONAL:
        yield "One image was assessed, not the rest of the examination."
    is_outside = result.familiarity is not None and result.familiarity.is_outside
    if result.diagnosis.uncertain and not is_outside:
        yield "The confidence is too low for a diagnosis; the candidates are named instead."
    yield RESEARCH_NOTICE


# --------------------------------------------------------------------------- words


def _counted(number: int, word: str) -> str:
    return f"one {word}" if number == 1 else f"{number} {word}s"


def _unit_word(unit: str) -> str:
    return "pixels" if unit == "px" else unit
