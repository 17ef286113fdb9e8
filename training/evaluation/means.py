"""Means of measured questions by set and over sets, with intervals over resampled patients.

What is compared on the same questions is resampled alike, so that differences are paired.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .bootstrap import Interval, interval, resample
from .classification import Values, mean_of_defined, weighted_mean

OVER_SETS = "mean over sets"


@dataclass(frozen=True)
class Measured:
    """One number of one question.

    Attributes:
        cluster: what is resampled as one, see `Record.cluster`.
        value: None where the question has none; it then counts nowhere.
    """

    dataset: str
    cluster: str
    value: float | None


@dataclass(frozen=True)
class Mean:
    """A mean.

    Attributes:
        value: None if no question has a value.
        interval: 95 %; None of a single group, which tells nothing of others.
        count: questions that have a value.
        groups: patients or source images.
    """

    value: float | None
    interval: Interval | None
    count: int
    groups: int


def mean(measured: Sequence[Measured]) -> Mean:
    """The mean of all questions alike."""
    return _as_mean(_draws(measured), measured)


def means_by_set(measured: Sequence[Measured]) -> dict[str, Mean]:
    """The mean of each set in order of name; with several sets, also their mean (`OVER_SETS`).

    Every set has the same weight in the mean over sets; groups are resampled within each.
    """
    sets: dict[str, list[Measured]] = defaultdict(list)
    for one in measured:
        if one.value is not None:
            sets[one.dataset].append(one)
    draws = {name: _draws(members) for name, members in sorted(sets.items())}
    means = {name: _as_mean(values, sets[name]) for name, values in draws.items()}
    if len(draws) > 1:
        over_sets = mean_of_defined(np.stack(list(draws.values())))
        means[OVER_SETS] = _as_mean(over_sets, measured)
    return means


def _draws(measured: Sequence[Measured]) -> Values:
    """(1 + B,): the mean, then those of B resamples."""
    values = np.array([np.nan if m.value is None else m.value for m in measured], dtype=float)
    weights = np.vstack([np.ones(len(values)), resample([m.cluster for m in measured])])
    return weighted_mean(values, weights)


def _as_mean(draws: Values, measured: Sequence[Measured]) -> Mean:
    known = [one for one in measured if one.value is not None]
    groups = len({one.cluster for one in known})
    if not known:
        return Mean(None, None, 0, 0)
    bounds = interval(draws[1:]) if groups > 1 else None
    return Mean(float(draws[0]), bounds, len(known), groups)
