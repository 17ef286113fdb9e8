"""A report as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..case import CheckedClaim
from .structure import Report, ReportedMeasurement
from .wording import one_line

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~$])")


def to_markdown(report: Report, query: str) -> str:
    """The sections under their headings, ending with a line feed."""
    lines = ["# Report", "", f"**Question:** {_plain(query)}"]
    for heading, body in (
        ("Technique", [_plain(report.technique.text)]),
        ("Findings", list(_findings(report))),
        ("Measurements", list(_measurements(report))),
        ("Impression", [_plain(report.impression.text)]),
        ("Statements of the reasoning", list(_claims(report))),
        ("Limitations", [f"- {_plain(text)}" for text in report.limitations]),
    ):
        if body:
            lines += ["", f"## {heading}", "", *body]
    return "\n".join(lines) + "\n"


def _findings(report: Report) -> Iterator[str]:
    if not report.findings:
        yield "Nothing was found in this image."
    for finding in report.findings:
        yield f"- {_plain(finding.text)}"


def _measurements(report: Report) -> Iterator[str]:
    names = list(dict.fromkeys(row.finding for row in report.measurements))
    if not names:
        return
    values = {(row.name, row.finding): row for row in report.measurements}
    yield f"| | {' | '.join(_plain(name) for name in names)} |"
    yield f"|---|{'---|' * len(names)}"
    for kind in dict.fromkeys(row.name for row in report.measurements):
        cells = (_value(values.get((kind, name))) for name in names)
        yield f"| {kind} | {' | '.join(cells)} |"


def _value(measurement: ReportedMeasurement | None) -> str:
    if measurement is None:
        return ""
    number = f"{measurement.value:.4g}" if measurement.unit != "px" else f"{measurement.value:.0f}"
    if abs(measurement.value) >= 1000:
        number = f"{measurement.value:.0f}"
    unit = "pixels" if measurement.unit == "px" else measurement.unit
    return f"{number} {unit}".strip()


def _claims(report: Report) -> Iterator[str]:
    claims = report.claims
    checked = (*claims.contradicted, *claims.supported, *claims.not_checkable)
    if not checked:
        return
    yield "| statement | of | verdict | measured |"
    yield "|---|---|---|---|"
    for claim in checked:
        yield _claim(claim)


def _claim(claim: CheckedClaim) -> str:
    verdict = f"**{claim.verdict}**" if claim.verdict == "contradicted" else claim.verdict
    cells = (_plain(claim.statement), _plain(claim.kind), verdict, _plain(claim.measured))
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """Free text on one line that Markdown shows as it is."""
    return _SPECIAL.sub(r"\\\1", one_line(text))
