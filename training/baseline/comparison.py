"""The model, the U-Net and the classifier side by side, a row a set. Knows no files."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..ablation.stored import Answers
from ..evaluation.bootstrap import Interval, interval
from ..evaluation.summary import ALL, MACRO, SetMetrics, score_over_sets, summarise
from ..evaluation.tables import MISSING, number, pipe_table, with_interval

Side = Literal["masks", "diagnosis"]
MODEL = "Sim4Seg"
PLAIN_NAMES: dict[Side, str] = {"masks": "U-Net", "diagnosis": "classifier"}

MEASURES: dict[str, tuple[str, Side]] = {
    "giou": ("gIoU", "masks"),
    "false_masks": ("false masks", "masks"),
    "presence_auroc": ("presence AUROC", "masks"),
    "accuracy": ("accuracy", "diagnosis"),
    "balanced_accuracy": ("balanced", "diagnosis"),
}
"""Metric -> its heading, and which plain network it is measured of beside the model."""
WITH_INTERVAL = frozenset({"giou", "accuracy"})

NOTES = """\
gIoU: mean IoU where the target is there, with its 95 % interval over resampled patients. false
masks: questions without the target that got a mask. presence AUROC: how often a target that is
there scores above one that is not, whatever the threshold; the U-Net's score is its surest pixel.
majority: accuracy of always naming the most frequent diagnosis. The classifier chooses among the
diagnoses that the set has in training; the U-Net draws what passes a probability of 0.5 in the
channel of the asked target. macro: mean over sets (chest targets are one set)."""


@dataclass(frozen=True)
class Compared:
    """The same questions, answered by all, in the same order."""

    model: Answers
    masks: Answers
    diagnosis: Answers

    def plain(self, side: Side) -> Answers:
        """Of the U-Net or the classifier."""
        return self.masks if side == "masks" else self.diagnosis


@dataclass(frozen=True)
class Difference:
    """What the model has more than the plain network, as mean over sets.

    Attributes:
        bounds: 95 % interval, both answering the same resampled patients.
    """

    value: float
    bounds: Interval | None


def table_of(answers: Answers) -> dict[str, SetMetrics]:
    """Metrics by set, the mean over sets last."""
    table = summarise(answers.rows, answers.threshold)
    return {metrics.name: metrics for metrics in table if metrics.name != ALL}


def differences(compared: Compared) -> dict[str, Difference]:
    """By metric; those that nothing is known of are left out."""
    ours = score_over_sets(compared.model.rows, compared.model.threshold)
    theirs = {
        side: score_over_sets(compared.plain(side).rows, compared.plain(side).threshold)
        for side in PLAIN_NAMES
    }
    found = {}
    for metric, (_, side) in MEASURES.items():
        value = float(ours.estimate[metric][0] - theirs[side].estimate[metric][0])
        if value == value:
            bounds = interval(ours.resampled[metric] - theirs[side].resampled[metric])
            found[metric] = Difference(value, bounds)
    return found


def comparison_markdown(compared: Compared) -> str:
    """The table for people, and the differences below it."""
    ours = table_of(compared.model)
    theirs = {side: table_of(compared.plain(side)) for side in PLAIN_NAMES}
    head = ["set", "n"]
    for heading, side in MEASURES.values():
        head += [f"{heading} {MODEL}", f"{heading} {PLAIN_NAMES[side]}"]
    rows = []
    for name, metrics in ours.items():
        row = [name, str(metrics.questions)]
        for metric, (_, side) in MEASURES.items():
            row += [_cell(metrics, metric), _cell(theirs[side][name], metric)]
        rows.append([*row, number(metrics.majority)])
    return "\n\n".join([NOTES, pipe_table([*head, "majority"], rows), _differences(compared)])


def _cell(metrics: SetMetrics, metric: str) -> str:
    value = getattr(metrics, metric)
    if metric in WITH_INTERVAL:
        return with_interval(value, metrics.intervals.get(metric))
    return number(value)


def _differences(compared: Compared) -> str:
    rows = []
    for metric, found in differences(compared).items():
        heading, side = MEASURES[metric]
        bounds = found.bounds
        spread = MISSING if bounds is None else f"{bounds[0]:+.3f} to {bounds[1]:+.3f}"
        rows.append([heading, PLAIN_NAMES[side], f"{found.value:+.3f}", spread])
    title = f"What {MODEL} has more, as mean over sets, both asked of the same resampled patients:"
    return f"{title}\n\n" + pipe_table(["metric", "against", "difference", "95 % interval"], rows)


def comparison_csv(compared: Compared) -> str:
    """Every number with its interval, a row each; the differences last."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["set", "n", "metric", "network", "value", "low", "high"])
    ours = table_of(compared.model)
    theirs = {side: table_of(compared.plain(side)) for side in PLAIN_NAMES}
    for name, metrics in ours.items():
        for metric, (_, side) in MEASURES.items():
            for network, measured in ((MODEL, metrics), (PLAIN_NAMES[side], theirs[side][name])):
                writer.writerow(_csv_row(measured, metric, network))
    for metric, found in differences(compared).items():
        low, high = found.bounds or (None, None)
        count = ours[MACRO].questions
        writer.writerow([MACRO, count, metric, "difference", found.value, low, high])
    return text.getvalue()


def _csv_row(metrics: SetMetrics, metric: str, network: str) -> Sequence[object]:
    low, high = metrics.intervals.get(metric, (None, None))
    value = getattr(metrics, metric)
    return [metrics.name, metrics.questions, metric, network, value, low, high]
