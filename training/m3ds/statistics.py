"""Tables of a finished build, in markdown."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np

from .convert import Built
from .report import Report
from .source import SPLITS


def write_statistics(report: Report, licences: Mapping[str, str], folder: Path) -> None:
    """`STATISTICS.md`: sets, targets, diagnoses, licences, what was left out and why."""
    sections = [
        "# M3DS build",
        sets_table(report, list(licences)),
        "## Targets",
        targets_table(report.built),
        "## Diagnoses",
        diagnoses_table(report.built),
        "## Licences",
        licences_table(report.built, licences),
        "## Left out",
        left_out_table(report),
    ]
    if report.missing:
        sections.append(f"Downloads that were not there: {', '.join(report.missing)}.")
    (folder / "STATISTICS.md").write_text("\n\n".join(sections) + "\n", "utf-8")


def sets_table(report: Report, names: Sequence[str]) -> str:
    """One row a set and one for all: images by split, groups, masks, what was left out."""
    rows = [_set_row(name, [b for b in report.built if _of(b, name)], report) for name in names]
    total = ["all", *(str(sum(int(row[n]) for row in rows)) for n in range(1, 10))]
    header = ["set", *SPLITS, "groups", "target", "nothing", "unknown", "unusable", "leaking"]
    return markdown(header, [*rows, total])


def targets_table(built: Sequence[Built]) -> str:
    """Masks of each target and how much of the image they cover."""
    areas: dict[tuple[str, str], list[float]] = defaultdict(list)
    for item in built:
        for target, area in item.areas.items():
            areas[item.record["dataset"], target].append(100 * area)
    rows = []
    for (dataset, target), values in areas.items():
        low, high = np.percentile(values, (5, 95))
        spread = f"{low:.2f} to {high:.2f}"
        rows.append([dataset, target, str(len(values)), f"{median(values):.2f}", spread])
    return markdown(["set", "target", "masks", "median area %", "5 to 95 % of masks"], rows)


def diagnoses_table(built: Sequence[Built]) -> str:
    """Images of each diagnosis by split."""
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for item in built:
        diagnosis = item.record["diagnosis"] or "unknown"
        counts[item.record["dataset"], diagnosis][item.record["split"]] += 1
    rows = [[*key, *(str(count[split]) for split in SPLITS)] for key, count in counts.items()]
    return markdown(["set", "diagnosis", *SPLITS], rows)


def licences_table(built: Sequence[Built], licences: Mapping[str, str]) -> str:
    """The licence of each set, and of single images where it differs."""
    found = {(item.record["dataset"], item.record["licence"]): None for item in built}
    rows = [list(pair) for pair in found] or [list(pair) for pair in licences.items()]
    return markdown(["set", "licence"], rows)


def left_out_table(report: Report) -> str:
    """How many images were left out for which reason, with the first of them."""
    counts: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], str] = {}
    for kind in (report.skipped, report.left_out):
        for dataset, items in kind.items():
            for item in items:
                key = (dataset, item.reason.partition(":")[0])
                counts[key] += 1
                first.setdefault(key, item.case)
    rows = [[*key, str(count), first[key]] for key, count in counts.items()]
    return markdown(["set", "reason", "images", "first"], rows) if rows else "Nothing."


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose columns line up as plain text, too."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(header))]
    padded = [[c.ljust(w) for c, w in zip(line, widths, strict=True)] for line in lines]
    padded.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def _of(item: Built, dataset: str) -> bool:
    return bool(item.record["dataset"] == dataset)


def _set_row(name: str, built: Sequence[Built], report: Report) -> list[str]:
    splits = Counter(item.record["split"] for item in built)
    findings = [item.record["findings"] for item in built]
    return [
        name,
        *(str(splits[split]) for split in SPLITS),
        str(len({item.record["group"] for item in built})),
        str(sum(bool(f) for f in findings)),
        str(sum(f == [] for f in findings)),
        str(sum(f is None for f in findings)),
        str(len(report.skipped.get(name, ()))),
        str(len(report.left_out.get(name, ()))),
    ]
