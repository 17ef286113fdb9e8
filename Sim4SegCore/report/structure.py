"""The sections of a report as plain data; `dataclasses.asdict` of it is in result.json."""

from __future__ import annotations

from dataclasses import dataclass

from ..case import CheckedClaim
from .location import Location
from .terminology import Code


@dataclass(frozen=True)
class Technique:
    """What was looked at, and by what.

    Attributes:
        size_px: (columns, rows).
        spacing_mm: along columns and rows; None if the file does not tell.
        plane: see `orientation.Axes`.
    """

    text: str
    modality: str | None
    size_px: tuple[int, int]
    spacing_mm: tuple[float, float] | None
    plane: str | None
    answers: int
    masks: int


@dataclass(frozen=True)
class ReportedFinding:
    """One target in words.

    Attributes:
        name: unique among the findings of the report.
        confidence: presence probability, 0..1.
        mask_confidence: expected Dice of the mask, 0..1, if it was estimated.
    """

    name: str
    text: str
    present: bool
    confidence: float
    mask_confidence: float | None
    location: Location | None
    code: Code


@dataclass(frozen=True)
class ReportedMeasurement:
    """One number of one finding.

    Attributes:
        finding: the finding's name in the report.
        unit: "mm", "mm²", "px", "HU", "%", or "" for a count or the file's own intensities.
    """

    finding: str
    name: str
    value: float
    unit: str


@dataclass(frozen=True)
class Candidate:
    """A diagnosis that is possible."""

    label: str
    confidence: float
    code: Code


@dataclass(frozen=True)
class Impression:
    """What the answer concludes.

    Attributes:
        uncertain: the confidence is too low for a diagnosis; `candidates` are what it may be.
        candidates: the diagnosis first if there is one, then others that are likely.
    """

    text: str
    uncertain: bool
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class CheckedClaims:
    """Statements of the reasoning by verdict."""

    supported: tuple[CheckedClaim, ...]
    contradicted: tuple[CheckedClaim, ...]
    not_checkable: tuple[CheckedClaim, ...]


@dataclass(frozen=True)
class Report:
    """All sections.

    Attributes:
        text: the whole in a short paragraph.
    """

    text: str
    technique: Technique
    findings: tuple[ReportedFinding, ...]
    measurements: tuple[ReportedMeasurement, ...]
    impression: Impression
    claims: CheckedClaims
    limitations: tuple[str, ...]
