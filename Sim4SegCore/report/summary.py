"""A result in one short paragraph."""

from __future__ import annotations

from ..case import Diagnosis, Finding, Result
from .wording import NO_DIAGNOSIS, RESEARCH_NOTICE, diagnosis_words


def report_text(result: Result) -> str:
    """A short paragraph of plain English: what was found, its size, the diagnosis, the notice."""
    sentences = [_finding_sentence(finding) for finding in result.findings]
    if not sentences:
        sentences = ["Nothing was found in this image."]
    return " ".join([*sentences, _diagnosis_sentence(result.diagnosis), RESEARCH_NOTICE])


def _finding_sentence(finding: Finding) -> str:
    if not finding.present:
        return f"Not found: {finding.label} (probability {_percent(finding.confidence)})."
    sizes = finding.measurements
    known = "area_mm2" in sizes
    area = f"{sizes['area_mm2']:.1f} mm²" if known else f"{sizes['area_px']:.0f} pixels"
    unit, word = ("mm", "mm") if known else ("px", "pixels")
    longest, across = (sizes[f"{name}_diameter_{unit}"] for name in ("longest", "perpendicular"))
    parts = f" in {sizes['regions']:.0f} parts, the largest" if sizes["regions"] > 1 else ","
    return (
        f"Found: {finding.label} (confidence {_percent(finding.confidence)}), covering {area}, "
        f"{sizes['image_fraction']:.1%} of the image{parts} {longest:.3g} × {across:.3g} {word}."
    )


def _diagnosis_sentence(diagnosis: Diagnosis) -> str:
    if diagnosis.uncertain:
        return f"Diagnosis {diagnosis_words(diagnosis)}."
    if not diagnosis.label:
        return f"{NO_DIAGNOSIS}."
    return f"Suggested diagnosis: {diagnosis.label} (confidence {_percent(diagnosis.confidence)})."


def _percent(confidence: float) -> str:
    return f"{confidence:.0%}" if confidence == confidence else "unknown"
