"""An answer in words: Markdown to keep, HTML (what Qt's text widgets know of it) to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from html import escape
from typing import Any

NOTICE = (
    "Research tool, not a medical device. This answer can be wrong and must not be used for "
    "diagnosis or treatment."
)
_MARKS = {"supported": "✓", "contradicted": "✗", "not checkable": "·"}
_COLOURS = {"supported": "#1b8a3a", "contradicted": "#c62828", "not checkable": "#6b7280"}
_UNITS = {"px": "px", "mm": "mm", "mm2": "mm²", "mm3": "mm³", "ml": "ml"}
_SHARES = ("image_fraction",)
Document = Mapping[str, Any]


def as_markdown(document: Document) -> str:
    """The whole report."""
    lines = [f"# {_one_line(document['query'])}", ""]
    lines += [f"**{diagnosis_sentence(document)}**", ""]
    if others := alternatives_sentence(document):
        lines += [others, ""]
    lines.append("## Findings")
    for finding in document["findings"]:
        lines += ["", f"- {finding_sentence(finding)}"]
        lines += [f"  - {name}: {value}" for name, value in measurements(finding)]
    lines += ["", "## Reasoning", "", document["reasoning"], ""]
    lines += [
        f"- {_MARKS[claim['verdict']]} {_claim_sentence(claim)}" for claim in claims(document)
    ]
    if votes := votes_sentence(document):
        lines += ["", votes]
    if document["warnings"]:
        lines += ["", "## Warnings", ""]
        lines += [f"- {warning}" for warning in document["warnings"]]
    lines += ["", f"Model: {model_sentence(document)}", "", f"_{NOTICE}_", ""]
    return "\n".join(lines)


def as_html(document: Document, with_votes: bool = False) -> str:
    """The report for the panel.

    Args:
        with_votes: add how the sampled answers voted, where there are some.
    """
    parts = [
        f"<p style='color:#6b7280'>{escape(_one_line(document['query']))}</p>",
        f"<h3>{escape(diagnosis_sentence(document))}</h3>",
    ]
    if others := alternatives_sentence(document):
        parts.append(f"<p>{escape(others)}</p>")
    parts += [_warnings_html(document), _findings_html(document), _reasoning_html(document)]
    if with_votes and (votes := votes_sentence(document)):
        parts.append(f"<p><b>{escape(votes)}</b></p>")
    parts.append(f"<p><small>{escape(model_sentence(document))}</small></p>")
    parts.append(f"<p><small><i>{escape(NOTICE)}</i></small></p>")
    return "\n".join(part for part in parts if part)


def diagnosis_sentence(document: Document) -> str:
    """The diagnosis with its confidence."""
    diagnosis = document["diagnosis"]
    if not diagnosis["label"]:
        return "No diagnosis is suggested."
    word = "Uncertain, first candidate" if diagnosis.get("uncertain") else "Suggested diagnosis"
    return f"{word}: {diagnosis['label']} ({_percent(diagnosis['confidence'])})"


def alternatives_sentence(document: Document) -> str:
    """The next candidates; empty if there are none worth naming."""
    others = [
        f"{other['label']} {_percent(other['confidence'])}"
        for other in document["diagnosis"]["alternatives"][:3]
        if (other["confidence"] or 0) >= 0.01
    ]
    return f"Also considered: {', '.join(others)}." if others else ""


def finding_sentence(finding: Mapping[str, Any]) -> str:
    """Whether a target was found."""
    word = "found" if finding["present"] else "not found"
    return f"{finding['label']}: {word} (probability {_percent(finding['confidence'])})"


def measurements(finding: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values with units; sizes in mm rather than in pixels where both are known."""
    values = finding["measurements"]
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        base, _, unit = name.rpartition("_")
        if value is None or (
            unit == "px" and any(f"{base}_{mm}" in values for mm in ("mm", "mm2"))
        ):
            continue
        rows.append(_measurement(name, float(value)))
    return rows


def claims(document: Document) -> list[Mapping[str, Any]]:
    """The reasoning's statements, each with a verdict."""
    return [claim for claim in document.get("claims", []) if claim["verdict"] in _MARKS]


def votes_sentence(document: Document) -> str:
    """How the sampled answers voted; empty if there was one answer only."""
    answers = (document.get("samples") or {}).get("answers") or []
    if len(answers) < 2:
        return ""
    counts = Counter(answer["diagnosis"] or "no diagnosis" for answer in answers)
    votes = ", ".join(f"{label} {count}" for label, count in counts.most_common())
    return f"Votes of {len(answers)} answers: {votes}."


def model_sentence(document: Document) -> str:
    """Which weights answered, and how long it took."""
    model = document["model"]
    seconds = sum(value for value in document.get("timing", {}).values() if value)
    return f"{model['name']} {model['sha256'][:12]}, {seconds:.1f} s"


def _warnings_html(document: Document) -> str:
    if not document["warnings"]:
        return ""
    items = "".join(f"<li>{escape(warning)}</li>" for warning in document["warnings"])
    return f"<p style='color:#b45309'><b>Please note</b></p><ul style='color:#b45309'>{items}</ul>"


def _findings_html(document: Document) -> str:
    parts = ["<h4>Findings</h4>"]
    for finding in document["findings"]:
        parts.append(f"<p>{escape(finding_sentence(finding))}</p>")
        rows = "".join(
            f"<tr><td>{escape(name)}&nbsp;&nbsp;</td><td align='right'>{escape(value)}</td></tr>"
            for name, value in measurements(finding)
        )
        if rows and finding["present"]:
            parts.append(f"<table cellpadding='1'>{rows}</table>")
    return "\n".join(parts) if document["findings"] else "<p>Nothing was found.</p>"


def _reasoning_html(document: Document) -> str:
    items = "".join(
        f"<tr><td style='color:{_COLOURS[claim['verdict']]}'>{_MARKS[claim['verdict']]}&nbsp;</td>"
        f"<td>{escape(_claim_sentence(claim))}</td></tr>"
        for claim in claims(document)
    )
    checked = f"<p>Compared with the mask:</p><table cellpadding='1'>{items}</table>"
    reasoning = f"<h4>Reasoning</h4><p>{escape(document['reasoning'])}</p>"
    return reasoning + (checked if items else "")


def _claim_sentence(claim: Mapping[str, Any]) -> str:
    measured = f" ({claim['measured']})" if claim["measured"] else ""
    return f"{claim['statement']}: {claim['verdict']}{measured}"


def _measurement(name: str, value: float) -> tuple[str, str]:
    if name in _SHARES:
        return "share of the image", f"{value:.1%}"
    base, _, unit = name.rpartition("_")
    if unit in _UNITS:
        return base.replace("_", " "), f"{_number(value)} {_UNITS[unit]}"
    return name.replace("_", " "), _number(value)


def _number(value: float) -> str:
    """Three digits or more, never with an exponent."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0%}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
