"""From rows to the metrics of each set, their mean over sets, and over everything."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from .bootstrap import Interval, interval, resample
from .classification import Values, mean_of_defined
from .columns import Columns, FactColumns
from .facts import FACTS
from .metrics import METRICS, constant, stated
from .rows import Row

MACRO, ALL = "macro", "all"
SEVERAL_TARGETS = "COVID-CXR"
"""The set that is asked for more than one target, and listed by target."""


@dataclass(frozen=True)
class FactMetrics:
    """One kind of fact in the chain of thought.

    Attributes:
        statements: questions whose answer states it and where it is known.
        agreement: fraction of them that is right.
        constant: what the best constant statement would get on them.
    """

    statements: int
    agreement: float | None
    constant: float | None


@dataclass(frozen=True)
class SetMetrics:
    """Metrics of one set (and target, where a set has several); None where nothing applies.

    Masks count as the user gets them, emptied where the presence score is below its threshold.

    Attributes:
        groups: patients or source images, the units that intervals resample.
        giou: mean IoU over questions whose target is there and has a mask.
        giou_ungated: the same before the presence score empties masks.
        ciou: summed intersection over summed union of the same questions.
        nsd: normalised surface distance at `overlap.NSD_TOLERANCE` pixels.
        hd95: in percent of the image's diagonal; a missed target counts 100.
        false_masks: fraction of questions without the target that get a mask.
        presence_ece: expected calibration error of the presence probability.
        balanced_accuracy: mean recall over the diagnoses that occur.
        majority: accuracy of always naming the most frequent diagnosis of these rows.
        ece: expected calibration error of the diagnosis' confidence.
        uncertain: fraction of diagnoses that the model calls uncertain.
        certain_accuracy: accuracy of the others.
        mask_ece: expected calibration error of the Dice that masks are expected to have.
        modality: fraction of answers that name the right modality.
        fact_agreement: mean agreement of location, size, percent, shape and contrast.
        fact_constant: what the best constant statements would get on the same questions.
        facts: by kind of fact.
        intervals: 95 % interval by name of metric; missing where there is one group only.
    """

    name: str
    questions: int
    groups: int
    giou: float | None
    giou_ungated: float | None
    ciou: float | None
    dice: float | None
    nsd: float | None
    hd95: float | None
    false_masks: float | None
    presence_auroc: float | None
    presence_ece: float | None
    accuracy: float | None
    balanced_accuracy: float | None
    majority: float | None
    ece: float | None
    uncertain: float | None
    certain_accuracy: float | None
    mask_ece: float | None
    modality: float | None
    fact_agreement: float | None
    fact_constant: float | None
    facts: dict[str, FactMetrics] = field(default_factory=dict)
    intervals: dict[str, Interval] = field(default_factory=dict)


@dataclass(frozen=True)
class Scores:
    """Metrics by name: of the rows as they are (1,), and of resampled groups (B,)."""

    estimate: dict[str, Values]
    resampled: dict[str, Values]
    groups: int
    facts: dict[str, FactMetrics]


def summarise(rows: Sequence[Row], threshold: float) -> list[SetMetrics]:
    """Metrics per set, per chest target, their mean over sets, and over all questions alike.

    The mean over sets (`macro`) gives every set the same weight; chest targets are one set.
    """
    if not rows:
        return []
    table = [
        _as_metrics(name, len(members), score(members, threshold))
        for name, members in _grouped(rows, listed_name).items()
    ]
    macro = _as_metrics(MACRO, len(rows), score_over_sets(rows, threshold))
    return [*table, macro, _as_metrics(ALL, len(rows), score(rows, threshold))]


def score(rows: Sequence[Row], threshold: float) -> Scores:
    """Every metric of rows, each question with the same weight."""
    columns = Columns.of(rows, threshold)
    clusters = [row.cluster for row in rows]
    once, often = np.ones((1, len(rows))), resample(clusters)
    return Scores(
        estimate={name: metric(columns, once) for name, metric in METRICS.items()},
        resampled={name: metric(columns, often) for name, metric in METRICS.items()},
        groups=len(set(clusters)),
        facts={kind: _fact_metrics(columns.facts[kind]) for kind in FACTS},
    )


def score_over_sets(rows: Sequence[Row], threshold: float) -> Scores:
    """Every metric's mean over sets; groups are resampled within each set."""
    sets = [score(members, threshold) for members in _grouped(rows, _dataset).values()]
    return Scores(
        estimate={n: mean_of_defined(np.stack([s.estimate[n] for s in sets])) for n in METRICS},
        resampled={n: _mean_resampled(sets, n) for n in METRICS},
        groups=sum(s.groups for s in sets),
        facts={kind: _mean_facts([s.facts[kind] for s in sets]) for kind in FACTS},
    )


def _mean_resampled(sets: Sequence[Scores], name: str) -> Values:
    """A set that has no value at all is no part of the mean, nor one that lost it by chance."""
    return mean_of_defined(np.stack([s.resampled[name] for s in sets]))


def listed_name(row: Row) -> str:
    """The name under which a row is listed: its set, with the target where there are several."""
    several = row.dataset == SEVERAL_TARGETS
    return f"{row.dataset} {row.target}" if several else row.dataset


def _dataset(row: Row) -> str:
    return row.dataset


def _grouped(rows: Sequence[Row], key: Callable[[Row], str]) -> dict[str, list[Row]]:
    """Rows by key, in order of key."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return dict(sorted(groups.items()))


def _fact_metrics(fact: FactColumns) -> FactMetrics:
    once = np.ones((1, len(fact.right)))
    return FactMetrics(
        statements=int((~np.isnan(fact.right)).sum()),
        agreement=_number(stated(fact, once)),
        constant=_number(constant(fact, once)),
    )


def _mean_facts(sets: Sequence[FactMetrics]) -> FactMetrics:
    """Mean over the sets that have any; a set without statements has neither number."""
    agreements = [s.agreement for s in sets if s.agreement is not None]
    constants = [s.constant for s in sets if s.constant is not None]
    return FactMetrics(
        statements=sum(s.statements for s in sets),
        agreement=float(np.mean(agreements)) if agreements else None,
        constant=float(np.mean(constants)) if constants else None,
    )


def _number(values: Values) -> float | None:
    return None if np.isnan(values[0]) else float(values[0])


def _as_metrics(name: str, questions: int, scores: Scores) -> SetMetrics:
    numbers = {metric: _number(values) for metric, values in scores.estimate.items()}
    intervals = {n: interval(v) for n, v in scores.resampled.items() if numbers[n] is not None}
    known = {n: bounds for n, bounds in intervals.items() if bounds and scores.groups > 1}
    return SetMetrics(
        name=name,
        questions=questions,
        groups=scores.groups,
        facts=scores.facts,
        intervals=known,
        **numbers,
    )
