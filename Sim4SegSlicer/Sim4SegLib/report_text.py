"""An answer in words: Markdown to keep, HTML (what Qt's text widgets know of it) to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from html import escape
from typing import Any

from .translation import tr as _

SLICE_LINK = "slice:"
_MARKS = {"supported": "✓", "contradicted": "✗", "not checkable": "·"}
_COLOURS = {"supported": "#1b8a3a", "contradicted": "#c62828", "not checkable": "#6b7280"}
_MUTED, _WARNING, _BAR = "#6b7280", "#b45309", "#00a3c4"
_UNITS = {"px": "px", "mm": "mm", "mm2": "mm²", "mm3": "mm³", "ml": "ml"}
_SHARES = ("image_fraction",)
_BAR_WIDTH = 120
Document = Mapping[str, Any]


def notice() -> str:
    """Stands below every answer."""
    return _(
        "Research tool, not a medical device. This answer can be wrong and must not be used for "
        "diagnosis or treatment."
    )


def as_markdown(document: Document) -> str:
    """The whole report."""
    lines = [f"# {_one_line(document['query'])}", ""]
    lines += [f"**{diagnosis_sentence(document)}**", ""]
    if others := alternatives_sentence(document):
        lines += [others, ""]
    lines.append("## " + _("Findings"))
    for number, finding in enumerate(document["findings"]):
        lines += ["", f"- {finding_text(document, number)}"]
        if finding["present"]:
            rows = measurements(document, number)
            lines += [f"  - {name}: {value}" for name, value in rows]
    if slices := key_slices(document):
        lines += ["", "## " + _("Key slices"), ""]
        lines += [f"- {_key_slice_sentence(row)}" for row in slices]
    lines += ["", "## " + _("Reasoning"), "", document["reasoning"], ""]
    lines += [
        f"- {_MARKS[claim['verdict']]} {_claim_sentence(claim)}" for claim in claims(document)
    ]
    if counted := votes(document):
        lines += ["", f"## {_votes_heading(counted)}", ""]
        lines += [f"- {label}: {count}" for label, count in counted.items()]
    if document["warnings"]:
        lines += ["", "## " + _("Warnings"), ""]
        lines += [f"- {warning}" for warning in document["warnings"]]
    lines += [f"\n## {heading}\n\n{text}" for heading, text in _circumstances(document)]
    lines += ["", _("Model: {}").format(model_sentence(document)), "", f"_{notice()}_", ""]
    return "\n".join(lines)


def as_html(document: Document, with_votes: bool = False) -> str:
    """The report for the panel; key slices are links that begin with SLICE_LINK.

    Args:
        with_votes: add how the sampled answers voted, where there are some.
    """
    parts = [
        f"<p style='color:{_MUTED}'>{escape(_one_line(document['query']))}</p>",
        f"<h3>{escape(diagnosis_sentence(document))}</h3>",
    ]
    if others := alternatives_sentence(document):
        parts.append(f"<p>{escape(others)}</p>")
    if with_votes:
        parts.append(_votes_html(document))
    parts += [_warnings_html(document), _findings_html(document), _key_slices_html(document)]
    parts.append(_reasoning_html(document))
    parts += [
        f"<p style='color:{_MUTED}'><small>{heading}: {escape(text)}</small></p>"
        for heading, text in _circumstances(document)
    ]
    parts.append(f"<p><small>{escape(model_sentence(document))}</small></p>")
    parts.append(f"<p><small><i>{escape(notice())}</i></small></p>")
    return "\n".join(part for part in parts if part)


def diagnosis_sentence(document: Document) -> str:
    """The diagnosis with its confidence."""
    diagnosis = document["diagnosis"]
    if not diagnosis["label"]:
        return _("No diagnosis is suggested.")
    if is_outside(document):
        word = _("Unlike what the model was trained on, first candidate")
    elif diagnosis.get("uncertain"):
        word = _("Uncertain, first candidate")
    else:
        word = _("Suggested diagnosis")
    return f"{word}: {diagnosis['label']} ({_percent(diagnosis['confidence'])})"


def is_outside(document: Document) -> bool:
    """Whether the image is outside what the model was trained on, as far as it can tell."""
    return bool((document.get("familiarity") or {}).get("is_outside"))


def alternatives_sentence(document: Document) -> str:
    """The next candidates; empty if there are none worth naming."""
    others = [
        f"{other['label']} {_percent(other['confidence'])}"
        for other in document["diagnosis"]["alternatives"][:3]
        if (other["confidence"] or 0) >= 0.05
    ]
    return _("Also considered: {}.").format(", ".join(others)) if others else ""


def finding_text(document: Document, number: int) -> str:
    """A finding in the report's words, else whether it was found."""
    reported = _section(document, "findings")
    if number < len(reported):
        return str(reported[number]["text"])
    finding = document["findings"][number]
    if finding["present"]:
        text = _("{}: found (probability {})")
    else:
        text = _("{}: not found (probability {})")
    return text.format(finding["label"], _percent(finding["confidence"]))


def measurements(document: Document, number: int) -> list[tuple[str, str]]:
    """A finding's numbers with units; sizes in mm rather than in pixels where both are known."""
    reported = _section(document, "findings")
    if number < len(reported):
        name = reported[number]["name"]
        return [
            (row["name"], f"{_number(float(row['value']))} {row['unit']}".strip())
            for row in _section(document, "measurements")
            if row["finding"] == name and row["value"] is not None
        ]
    values = document["findings"][number]["measurements"]
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        base, _underscore, unit = name.rpartition("_")
        in_mm = any(f"{base}_{mm}" in values for mm in ("mm", "mm2"))
        in_ml = name == "volume_mm3" and "volume_ml" in values
        if value is not None and not (unit == "px" and in_mm) and not in_ml:
            rows.append(_measurement(name, float(value)))
    return rows


def claims(document: Document) -> list[Mapping[str, Any]]:
    """The reasoning's statements, each with a verdict."""
    return [claim for claim in document.get("claims", []) if claim["verdict"] in _MARKS]


def votes(document: Document) -> dict[str, int]:
    """How many of several sampled answers named each diagnosis, most first; empty of one answer."""
    answers = (document.get("samples") or {}).get("answers") or []
    if len(answers) < 2:
        return {}
    counts = Counter(answer["diagnosis"] or _("no diagnosis") for answer in answers)
    return dict(counts.most_common())


def mask_candidates(document: Document) -> list[tuple[str, str]]:
    """The masks that were combined, and what was expected of each; empty of one mask."""
    masks = (document.get("samples") or {}).get("masks") or []
    if len(masks) < 2:
        return []
    text = _("{:,} px, expected IoU {}")
    return [
        (mask["name"], text.format(mask["area_px"], _percent(mask["estimated_iou"])))
        for mask in masks
    ]


def key_slices(document: Document) -> list[Mapping[str, Any]]:
    """The slices of a volume that were answered, the weightiest first; empty of an image."""
    volume = document.get("volume") or {}
    return [{**row, "axis": volume["axis"]} for row in volume.get("key_slices", [])]


def model_sentence(document: Document) -> str:
    """Which weights answered, and how long it took."""
    model = document["model"]
    seconds = sum(value for value in document.get("timing", {}).values() if value)
    return f"{model['name']} {model['sha256'][:12]}, {seconds:.1f} s"


def _section(document: Document, name: str) -> list[Mapping[str, Any]]:
    report = document.get("report") or {}
    return list(report.get(name) or [])


def _circumstances(document: Document) -> list[tuple[str, str]]:
    """How it was made and what it cannot know; warnings and the notice stand elsewhere."""
    rows = []
    technique = (document.get("report") or {}).get("technique")
    if technique:
        rows.append((_("Technique"), str(technique["text"])))
    elsewhere = {_plain(text) for text in document["warnings"]}
    limits = [str(text) for text in _section(document, "limitations")]
    told = [
        text
        for text in limits
        if _plain(text) not in elsewhere and "not a medical device" not in text
    ]
    if told:
        rows.append((_("Limitations"), " ".join(told)))
    return rows


def _plain(text: str) -> str:
    return text.strip().rstrip(".").lower()


def _votes_html(document: Document) -> str:
    counted = votes(document)
    rows = [
        f"<tr><td>{escape(label)}&nbsp;&nbsp;</td><td>{count}&nbsp;</td><td>"
        f"{_bar(count / sum(counted.values()))}</td></tr>"
        for label, count in counted.items()
    ]
    parts = []
    if rows:
        parts.append(_heading(_votes_heading(counted)) + _table(rows))
    if masks := mask_candidates(document):
        rows = [
            f"<tr><td>{escape(name)}&nbsp;&nbsp;</td><td>{escape(value)}</td></tr>"
            for name, value in masks
        ]
        parts.append(_heading(_("Combined from {} masks").format(len(masks))) + _table(rows))
    return "\n".join(parts)


def _votes_heading(counted: Mapping[str, int]) -> str:
    return _("Votes of {} answers").format(sum(counted.values()))


def _bar(share: float) -> str:
    """Qt's rich text draws a cell's background as wide as its table says."""
    width = max(1, round(_BAR_WIDTH * share))
    cell = f"<td bgcolor='{_BAR}' width='{width}'>&nbsp;</td>"
    return f"<table cellspacing='0' cellpadding='0'><tr>{cell}</tr></table>"


def _warnings_html(document: Document) -> str:
    if not document["warnings"]:
        return ""
    items = "".join(f"<li>{escape(warning)}</li>" for warning in document["warnings"])
    style = f"style='color:{_WARNING}'"
    heading = escape(_("Please note"))
    return f"<p {style}><b>{heading}</b></p><ul {style}>{items}</ul>"


def _findings_html(document: Document) -> str:
    parts = [_heading(_("Findings"))]
    for number, finding in enumerate(document["findings"]):
        parts.append(f"<p>{escape(finding_text(document, number))}</p>")
        rows = [
            f"<tr><td>{escape(name)}&nbsp;&nbsp;</td><td align='right'>{escape(value)}</td></tr>"
            for name, value in measurements(document, number)
        ]
        if rows and finding["present"]:
            parts.append(_table(rows))
    return "\n".join(parts) if document["findings"] else _paragraph(_("Nothing was found."))


def _key_slices_html(document: Document) -> str:
    rows = key_slices(document)
    if not rows:
        return ""
    items = "".join(
        f"<li><a href='{SLICE_LINK}{row['index']}'>{row['axis']} = {row['index']}</a>: "
        f"{escape(_key_slice_words(row))}</li>"
        for row in rows
    )
    marked = document["volume"]["slice_range"]
    extent = ""
    if marked:
        first, last = (
            f"<a href='{SLICE_LINK}{index}'>{rows[0]['axis']} = {index}</a>" for index in marked
        )
        extent = _paragraph(_("The finding reaches from {} to {}.")).format(first, last)
    return _heading(_("Slices")) + extent + _paragraph(_("Answered on:")) + f"<ul>{items}</ul>"


def _key_slice_sentence(row: Mapping[str, Any]) -> str:
    return f"{row['axis']} = {row['index']}: {_key_slice_words(row)}"


def _key_slice_words(row: Mapping[str, Any]) -> str:
    label = row["diagnosis"] or _("no diagnosis")
    return f"{label} {_percent(row['confidence'])} ({row['reason']})"


def _reasoning_html(document: Document) -> str:
    rows = [
        f"<tr><td style='color:{_COLOURS[claim['verdict']]}'>{_MARKS[claim['verdict']]}&nbsp;</td>"
        f"<td>{escape(_claim_sentence(claim))}</td></tr>"
        for claim in claims(document)
    ]
    reasoning = _heading(_("Reasoning")) + _paragraph(document["reasoning"])
    compared = _paragraph(_("Compared with the mask:")) + _table(rows)
    return reasoning + (compared if rows else "")


def _heading(text: str) -> str:
    return f"<h4>{escape(text)}</h4>"


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def _table(rows: list[str]) -> str:
    return f"<table cellpadding='1'>{''.join(rows)}</table>"


def _claim_sentence(claim: Mapping[str, Any]) -> str:
    measured = f" ({claim['measured']})" if claim["measured"] else ""
    return f"{claim['statement']}: {claim['verdict']}{measured}"


def _measurement(name: str, value: float) -> tuple[str, str]:
    if name in _SHARES:
        return _("share of the image"), f"{value:.1%}"
    base, _underscore, unit = name.rpartition("_")
    if unit in _UNITS:
        return base.replace("_", " "), f"{_number(value)} {_UNITS[unit]}"
    return name.replace("_", " "), _number(value)


def _number(value: float) -> str:
    """Three digits or more, never with an exponent."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _percent(value: float | None) -> str:
    return _("unknown") if value is None else f"{value:.0%}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
