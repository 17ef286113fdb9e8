"""The paper's Table 3 (arXiv 2511.06665) beside our numbers for the sets that we share.

Splits, image sizes and models differ, and the paper counts images without a target in a way of
its own: the numbers stand beside each other, they do not compete.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..evaluation.classification import Values
from ..evaluation.summary import score
from ..evaluation.tables import MISSING, pipe_table
from .stored import Answers

Triple = tuple[float, float, float]
"""gIoU, cIoU and accuracy in percent."""


@dataclass(frozen=True)
class PaperResult:
    """A line of Table 3: fine-tuned with chain of thought, without and with RVLS2M, then TTS."""

    name: str
    without_rvls2m: Triple
    with_rvls2m: Triple
    with_tts: Triple


@dataclass(frozen=True)
class Shared:
    """What of ours stands beside a line of the paper.

    Attributes:
        ours: our sets, pooled.
        remark: how they relate, if they are not the same set.
    """

    paper: PaperResult
    ours: tuple[str, ...]
    remark: str = ""


FRACATLAS = PaperResult("FracAtlas", (1.58, 1.71, 88.52), (6.41, 5.42, 89.55), (6.98, 6.21, 98.51))
BFD = PaperResult("BFD", (8.35, 10.00, 57.83), (11.97, 13.86, 63.86), (13.61, 15.90, 80.72))
ISBI = PaperResult("ISBI", (85.09, 81.85, 73.27), (86.96, 85.47, 74.26), (87.44, 85.48, 80.20))
ISIC = PaperResult("ISIC", (63.97, 64.85, 64.50), (68.37, 67.02, 68.00), (69.33, 69.72, 76.83))
KVASIR = PaperResult(
    "Kvasir-SEG", (54.29, 49.79, 84.00), (67.23, 60.17, 87.00), (68.28, 63.04, 92.00)
)
BUSI = PaperResult("BUSI", (45.91, 47.30, 80.00), (49.42, 49.49, 81.67), (49.28, 50.10, 78.33))
FIVES = PaperResult("FIVES", (31.89, 33.22, 31.68), (36.70, 38.64, 33.66), (37.77, 39.75, 68.32))

SHARED = (
    Shared(BUSI, ("BUSI",)),
    Shared(FRACATLAS, ("FracAtlas",)),
    Shared(BFD, ("BoneFractureDetection",)),
    Shared(KVASIR, ("Kvasir-SEG",)),
    Shared(FIVES, ("FIVES",)),
    Shared(FIVES, ("HRF", "DRIVE", "CHASE_DB1"), "like FIVES"),
    Shared(ISBI, ("PH2",), "like ISBI"),
    Shared(ISIC, ("PH2",), "like ISIC"),
)


def paper_markdown(answers: Mapping[str, Answers]) -> str:
    """Table 3's lines beside each of our variants."""
    head = ["paper's set", "paper, w/o RVLS2M", "paper, RVLS2M", "paper, + TTS", "our set", "n"]
    return "\n".join(
        [
            "The paper's Table 3 beside ours: gIoU / cIoU / accuracy in percent. The splits,",
            "image sizes and models differ, and so does how images without a target count (ours:",
            "not in gIoU and cIoU); the numbers show the order of magnitude, not a ranking.",
            "",
            pipe_table([*head, *answers], [_line(shared, answers) for shared in SHARED]),
        ]
    )


def _line(shared: Shared, answers: Mapping[str, Answers]) -> list[str]:
    paper = shared.paper
    count = max(sum(r.dataset in shared.ours for r in a.rows) for a in answers.values())
    ours = ", ".join(shared.ours) + (f" ({shared.remark})" if shared.remark else "")
    return [
        paper.name,
        *(_triple(t) for t in (paper.without_rvls2m, paper.with_rvls2m, paper.with_tts)),
        ours,
        str(count),
        *(_own(shared.ours, own) for own in answers.values()),
    ]


def _triple(values: Triple) -> str:
    return " / ".join(f"{value:.2f}" for value in values)


def _own(sets: tuple[str, ...], answers: Answers) -> str:
    rows = [row for row in answers.rows if row.dataset in sets]
    if not rows:
        return "none in this split"
    estimate = score(rows, answers.threshold).estimate
    return " / ".join(_percent(estimate[name]) for name in ("giou", "ciou", "accuracy"))


def _percent(value: Values) -> str:
    return MISSING if np.isnan(value[0]) else f"{100 * value[0]:.2f}"
