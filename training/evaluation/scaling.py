"""What more answers and masks bring: each way of combining them, and the best that there was.

Every question is answered with all samples once. Votes and choices among the first m answers and
the first n masks follow from that; the consensus of n masks is asked for, since it averages what
the result does not keep. The oracle takes the candidate that is most like the truth: nobody can
do that without the truth, it only bounds what choosing could reach (the paper reports it).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from Sim4SegCore import Result, Sim4Seg
from Sim4SegCore.scaling import mean_agreement, vote
from Sim4SegCore.scaling_config import Calibration, MaskChoice, ScalingConfig

from ..records import Record
from ..text import canonical_query
from .bootstrap import Interval, interval, resample
from .overlap import iou, measure_overlap
from .rows import read_truth

COUNTS = (1, 2, 4, 8)
CONSENSUS: MaskChoice = "consensus"
ESTIMATE: MaskChoice = "estimated IoU"
AGREEMENT: MaskChoice = "agreement"
TEXT: MaskChoice = "text"
VOTE, ORACLE = "vote", "oracle"
CHOICES = (CONSENSUS, ESTIMATE, AGREEMENT, TEXT)
MASK_WAYS = (*CHOICES, ORACLE)
ANSWER_WAYS = (VOTE, ORACLE)
UNNAMED = "not given"
EVERYTHING = "mean over sets"

Score = tuple[str, int]
"""A way of combining, and how many answers or masks it combines."""


@dataclass(frozen=True)
class Trust:
    """What all answers and masks of a question together are sure of, and what came of it.

    Attributes:
        confidence: of the diagnosis that was voted for, as users read it.
        votes: the fraction of answers that named it.
        right: 1.0 where it is right; None where no diagnosis is known.
        mask_confidence: Dice that the consensus is expected to have; None of an empty one.
        dice: what it has; None without a true mask.
    """

    confidence: float
    votes: float
    right: float | None
    mask_confidence: float | None
    dice: float | None


@dataclass(frozen=True)
class ScaledRow:
    """One question under every way of combining.

    Attributes:
        masks: IoU by way and n, whatever the presence score says; empty without a true mask.
        false_masks: 1.0 where something is drawn although nothing is there, by way and n, after
            the presence score; empty if the target is there.
        answers: 1.0 where the diagnosis is right, by way and m; empty without a known one.
    """

    dataset: str
    cluster: str
    masks: dict[Score, float] = field(default_factory=dict)
    false_masks: dict[Score, float] = field(default_factory=dict)
    answers: dict[Score, float] = field(default_factory=dict)
    trust: Trust | None = None


@dataclass(frozen=True)
class ScaledMean:
    """A mean with its 95 % interval, and the difference to the single pass with its own."""

    value: float
    interval: Interval | None
    gain: float
    gain_interval: Interval | None


def evaluate_scaling(
    predictor: Sim4Seg,
    records: Sequence[Record],
    folder: Path,
    presence_threshold: float,
    seed: int = 0,
) -> list[ScaledRow]:
    """Answer every question of an ungated predictor in every way.

    Args:
        folder: holds the images and masks that the records name.
        presence_threshold: below it the model that users have draws nothing.

    Raises:
        Sim4SegError: if an image or mask cannot be read.
    """
    rows = []
    for record in tqdm(records, unit="image", mininterval=5, dynamic_ncols=True):
        predictor.set_image(folder / record.image)
        for target in record.questions:
            query = canonical_query(target, record.dataset)
            truth = read_truth(record, target, folder)
            full = ScalingConfig(COUNTS[-1], COUNTS[-1], seed=seed, stop_early=False)
            result = predictor.ask(query, full)
            masks, false_masks = {}, {}
            if truth is not None:
                masks = _mask_scores(predictor, query, result, truth)
            elif not record.is_present(target):
                is_shown = result.findings[0].confidence >= presence_threshold
                false_masks = _false_masks(predictor, query, result, is_shown)
            answers = {} if record.diagnosis is None else _answer_scores(result, record.diagnosis)
            trust = _trust(result, record.diagnosis, truth)
            rows.append(
                ScaledRow(record.dataset, record.cluster, masks, false_masks, answers, trust)
            )
    return rows


def _trust(result: Result, diagnosis: str | None, truth: NDArray[np.bool_] | None) -> Trust:
    named, finding = result.diagnosis, result.findings[0]
    votes = [answer.diagnosis == named.label for answer in result.samples.answers]
    return Trust(
        confidence=named.confidence,
        votes=float(np.mean(votes)),
        right=None if diagnosis is None else float(named.label == diagnosis),
        mask_confidence=finding.mask_confidence,
        dice=None if truth is None else measure_overlap(finding.mask, truth).dice,
    )


def _mask_scores(
    predictor: Sim4Seg, query: str, result: Result, truth: NDArray[np.bool_]
) -> dict[Score, float]:
    scores = {
        score: iou(mask, truth) for score, mask in _combined(predictor, query, result).items()
    }
    ious = [iou(candidate.mask, truth) for candidate in result.samples.masks]
    return scores | {(ORACLE, count): max(ious[:count]) for count in COUNTS}


def _false_masks(
    predictor: Sim4Seg, query: str, result: Result, is_shown: bool
) -> dict[Score, float]:
    if not is_shown:
        return {(way, count): 0.0 for way in CHOICES for count in COUNTS}
    combined = _combined(predictor, query, result)
    return {score: float(mask.any()) for score, mask in combined.items()}


def _combined(predictor: Sim4Seg, query: str, result: Result) -> dict[Score, NDArray[np.bool_]]:
    """The mask of every way that needs no truth."""
    drawn = result.samples.masks
    masks: dict[Score, NDArray[np.bool_]] = {}
    for count in COUNTS:
        some = drawn[:count]
        agreement = mean_agreement([torch.from_numpy(candidate.mask) for candidate in some])
        estimates = [candidate.estimated_iou for candidate in some]
        masks[ESTIMATE, count] = some[estimates.index(max(estimates))].mask
        masks[AGREEMENT, count] = some[agreement.index(max(agreement))].mask
        for way in (CONSENSUS, TEXT):
            masks[way, count] = some[0].mask
            if len(some) > 1:
                asked = predictor.ask(query, ScalingConfig(1, count, choice=way))
                masks[way, count] = asked.findings[0].mask
    return masks


def _answer_scores(result: Result, truth: str) -> dict[Score, float]:
    answers = result.samples.answers
    ballots = [{answer.diagnosis or UNNAMED: 1.0} for answer in answers]
    fluency = [answer.log_probability for answer in answers]
    scores: dict[Score, float] = {}
    for count in COUNTS:
        label, _ = vote(ballots[:count], fluency[:count], Calibration())
        scores[VOTE, count] = float(label == truth)
        scores[ORACLE, count] = float(any(truth in ballot for ballot in ballots[:count]))
    return scores


def summarise_scaling(rows: Sequence[ScaledRow], kind: str) -> dict[str, dict[Score, ScaledMean]]:
    """Means by set and over sets, each against the single pass.

    Args:
        kind: `masks`, `false_masks` or `answers`.
    """
    groups: dict[str, list[ScaledRow]] = defaultdict(list)
    for row in rows:
        if getattr(row, kind):
            groups[row.dataset].append(row)
    drawn = {name: _resampled(members, kind) for name, members in sorted(groups.items())}
    if drawn:
        ways = next(iter(drawn.values()))
        drawn[EVERYTHING] = {
            way: np.mean([values[way] for values in drawn.values()], axis=0) for way in ways
        }
    return {name: _against_single(values) for name, values in drawn.items()}


def _resampled(rows: Sequence[ScaledRow], kind: str) -> dict[Score, NDArray[np.float64]]:
    """Per way: the mean, then the means of all resamples."""
    weights = np.vstack([np.ones(len(rows)), resample([row.cluster for row in rows])])
    with np.errstate(invalid="ignore"):
        shares = weights / weights.sum(1, keepdims=True)
    return {
        way: shares @ np.array([getattr(row, kind)[way] for row in rows])
        for way in getattr(rows[0], kind)
    }


def _against_single(values: dict[Score, NDArray[np.float64]]) -> dict[Score, ScaledMean]:
    means = {}
    for (way, count), drawn in values.items():
        single = values[way, COUNTS[0]]
        means[way, count] = ScaledMean(
            float(drawn[0]),
            interval(drawn[1:]),
            float(drawn[0] - single[0]),
            interval(drawn[1:] - single[1:]),
        )
    return means


def scaling_table(rows: Sequence[ScaledRow]) -> str:
    """Markdown: per set the single pass, and the gain of each way with its interval."""
    blocks = []
    for kind, title, ways in (
        ("masks", "Mean IoU (ungated), n masks", MASK_WAYS),
        ("false_masks", "Masks of nothing (gated), n masks", CHOICES),
        ("answers", "Accuracy of the diagnosis, m answers", ANSWER_WAYS),
    ):
        table = summarise_scaling(rows, kind)
        if not table:
            continue
        columns = [(way, count) for way in ways for count in COUNTS[1:]]
        head = " | ".join(f"{way} {count}" for way, count in columns)
        lines = [f"{title}: one pass, then the difference to it", ""]
        lines += [f"| set | 1 | {head} |", "|---" * (len(columns) + 2) + "|"]
        for name, means in table.items():
            single = means[ways[0], COUNTS[0]].value
            cells = " | ".join(_gain(means[column]) for column in columns)
            lines.append(f"| {name} | {single:.3f} | {cells} |")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _gain(mean: ScaledMean) -> str:
    text = f"{mean.gain:+.3f}"
    if mean.gain_interval is not None and not mean.gain_interval[0] <= 0 <= mean.gain_interval[1]:
        text = f"**{text}**"
    return text
