"""What was measured of obedience, as tables. Knows no files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..means import Mean, Measured, mean, means_by_set
from ..saving import table_csv
from ..tables import MISSING, number, pipe_table, with_interval
from .plan import ABSENT_KINDS
from .rows import AbsentRow, ObedienceRows, ParaphraseRow, StructureRow, Worded

STABLE = 0.95
"""Mean Dice over phrasings from which an image's mask counts as the same."""

Line = dict[str, Any]


def structure_lines(rows: Sequence[StructureRow]) -> list[Line]:
    """How well each name's mask meets the structure that it means; a line a name."""
    own = [row for row in rows if row.truth == row.target]
    return [
        {"asked": name, "target": members[0].target}
        | _columns("dice", mean([_of(row, row.dice) for row in members]))
        | _columns("iou", mean([_of(row, row.iou) for row in members]))
        | {"no_mask": 1 - float(np.mean([row.mask_shown for row in members]))}
        for name, members in _grouped(own, lambda row: row.asked).items()
    ]


def structures_markdown(rows: Sequence[StructureRow]) -> str:
    """For people."""
    return pipe_table(
        ["asked for", "images", "Dice", "IoU", "no mask"],
        [
            [
                line["asked"],
                str(line["dice_n"]),
                _shown(line, "dice"),
                _shown(line, "iou"),
                number(line["no_mask"], 2),
            ]
            for line in structure_lines(rows)
        ],
    )


def cross_lines(rows: Sequence[StructureRow]) -> list[Line]:
    """A line for each name and each true mask, over the images that have both."""
    pairs = _grouped(rows, lambda row: (row.asked, row.truth))
    return [
        {
            "asked": asked,
            "truth": truth,
            "images": len(members),
            "iou": float(np.mean([row.iou for row in members])),
            "dice": float(np.mean([row.dice for row in members])),
            "true_iou": float(np.mean([row.true_iou for row in members])),
            "own": members[0].target == truth,
        }
        for (asked, truth), members in pairs.items()
    ]


def cross_markdown(rows: Sequence[StructureRow]) -> str:
    """Rows: what was asked for; columns: true masks."""
    cells = {(line["asked"], line["truth"]): _cross_cell(line) for line in cross_lines(rows)}
    asked = list(dict.fromkeys(name for name, _ in cells))
    truths = list(dict.fromkeys(row.target for row in rows))
    return pipe_table(
        ["asked for \\ true mask", *truths],
        [[name, *(cells.get((name, truth), MISSING) for truth in truths)] for name in asked],
    )


def _cross_cell(line: Line) -> str:
    if line["own"]:
        return f"**{line['iou']:.2f}**"
    return f"{line['iou']:.2f} ({line['true_iou']:.2f})"


def absent_lines(rows: Sequence[AbsentRow]) -> list[Line]:
    """The share of empty masks by kind and set; a kind's mean over sets stands last."""
    lines = []
    for kind in ABSENT_KINDS:
        members = [row for row in rows if row.kind == kind]
        empty = means_by_set([_of(row, float(not row.mask_shown)) for row in members])
        covered = means_by_set(
            [_of(row, row.covered if row.mask_shown else None) for row in members]
        )
        lines += [
            {"kind": kind, "set": dataset}
            | _columns("empty", share)
            | {"covered": covered[dataset].value if dataset in covered else None}
            for dataset, share in empty.items()
        ]
    return lines


def absent_markdown(rows: Sequence[AbsentRow]) -> str:
    """For people."""
    return pipe_table(
        ["asked for", "set", "n", "patients", "empty masks", "a mask covers"],
        [
            [
                line["kind"],
                line["set"],
                str(line["empty_n"]),
                str(line["empty_groups"]),
                _shown(line, "empty"),
                _percent(line["covered"]),
            ]
            for line in absent_lines(rows)
        ],
    )


def paraphrase_lines(rows: Sequence[ParaphraseRow]) -> list[Line]:
    """Agreement over phrasings by set, apart for sentences that training uses and others."""
    lines: dict[str, Line] = defaultdict(dict)
    for seen, words in ((True, "seen"), (False, "unseen")):
        members = [row for row in rows if row.seen == seen]
        for name, value in _AGREEMENT.items():
            for dataset, found in means_by_set([_of(r, value(r)) for r in members]).items():
                lines[dataset] |= _columns(f"{words}_{name}", found)
    return [{"set": dataset} | line for dataset, line in lines.items()]


_AGREEMENT: dict[str, Callable[[ParaphraseRow], float]] = {
    "agreement": lambda row: row.agreement,
    "stable": lambda row: float(row.agreement >= STABLE),
    "no_mask": lambda row: float(np.mean([not words.mask_shown for words in row.words])),
    "dice": lambda row: float(np.mean([words.dice for words in row.words])),
}


def paraphrases_markdown(rows: Sequence[ParaphraseRow]) -> str:
    """For people."""
    head = ["agreement", f"≥ {STABLE:.2f}", "no mask", "Dice"]
    return pipe_table(
        ["set", "images", *(f"{words}: {name}" for words in ("seen", "unseen") for name in head)],
        [
            [
                line["set"],
                str(line["seen_agreement_n"]),
                *_wording_cells(line, "seen"),
                *_wording_cells(line, "unseen"),
            ]
            for line in paraphrase_lines(rows)
        ],
    )


def _wording_cells(line: Line, words: str) -> list[str]:
    return [
        _shown(line, f"{words}_agreement"),
        number(line[f"{words}_stable"], 2),
        number(line[f"{words}_no_mask"], 2),
        number(line[f"{words}_dice"]),
    ]


@dataclass(frozen=True)
class _Said:
    """One wording with whether training uses its sentence."""

    words: Worded
    seen: bool


def sentence_lines(rows: Sequence[ParaphraseRow]) -> list[Line]:
    """How each sentence fares, over all images: training's first."""
    said = [_Said(words, row.seen) for row in rows for words in row.words]
    groups = _grouped(said, lambda one: (not one.seen, one.words.sentence))
    return [
        {
            "sentence": sentence,
            "seen": not unseen,
            "n": len(members),
            "no_mask": 1 - float(np.mean([one.words.mask_shown for one in members])),
            "dice": float(np.mean([one.words.dice for one in members])),
        }
        for (unseen, sentence), members in sorted(groups.items())
    ]


def sentences_markdown(rows: Sequence[ParaphraseRow]) -> str:
    """For people."""
    return pipe_table(
        ["sentence", "used in training", "n", "no mask", "Dice"],
        [
            [
                line["sentence"],
                "yes" if line["seen"] else "no",
                str(line["n"]),
                number(line["no_mask"], 2),
                number(line["dice"]),
            ]
            for line in sentence_lines(rows)
        ],
    )


def obedience_csvs(rows: ObedienceRows) -> dict[str, str]:
    """Every table for programs, by file name."""
    return {
        "structures.csv": table_csv(structure_lines(rows.structures)),
        "cross.csv": table_csv(cross_lines(rows.structures)),
        "absent.csv": table_csv(absent_lines(rows.absent)),
        "paraphrases.csv": table_csv(paraphrase_lines(rows.paraphrases)),
        "sentences.csv": table_csv(sentence_lines(rows.paraphrases)),
    }


def _of(row: StructureRow | AbsentRow | ParaphraseRow, value: float | None) -> Measured:
    return Measured(row.dataset, row.cluster, value)


def _columns(name: str, found: Mean) -> Line:
    low, high = found.interval or (None, None)
    return {
        name: found.value,
        f"{name}_low": low,
        f"{name}_high": high,
        f"{name}_n": found.count,
        f"{name}_groups": found.groups,
    }


def _shown(line: Line, name: str) -> str:
    low, high = line[f"{name}_low"], line[f"{name}_high"]
    return with_interval(line[name], None if low is None else (low, high))


def _percent(share: float | None) -> str:
    return MISSING if share is None else f"{100 * share:.1f} %"


def _grouped(rows: Iterable[Any], key: Callable[[Any], Any]) -> dict[Any, list[Any]]:
    """Rows by key, in order of first appearance."""
    groups: dict[Any, list[Any]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return dict(groups)
