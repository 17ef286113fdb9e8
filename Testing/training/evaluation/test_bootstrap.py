import numpy as np

from training.evaluation.bootstrap import interval, resample
from training.evaluation.classification import weighted_mean


def width(values, groups):
    low, high = interval(weighted_mean(values, resample(groups)))
    return high - low


def test_the_interval_holds_the_mean_and_narrows_with_n():
    rng = np.random.default_rng(1)
    few, many = rng.normal(size=20), rng.normal(size=2000)
    for values in (few, many):
        low, high = interval(weighted_mean(values, resample([str(n) for n in range(len(values))])))
        assert low < values.mean() < high
    narrow, wide = (width(v, [str(n) for n in range(len(v))]) for v in (many, few))
    assert narrow < 0.25 * wide
    # Of independent values, 1.96 standard errors to either side.
    assert abs(narrow - 2 * 1.96 * many.std() / 2000**0.5) < 0.15 * narrow


def test_a_group_is_drawn_as_one():
    groups = ["a", "a", "b", "c", "c", "c"]
    counts = resample(groups)
    assert (counts[:, 0] == counts[:, 1]).all()
    assert (counts[:, 3] == counts[:, 5]).all()
    assert not (counts[:, 0] == counts[:, 2]).all()
    assert (counts[:, [0, 2, 3]].sum(1) == 3).all()


def test_copies_of_a_patient_are_no_evidence():
    rng = np.random.default_rng(2)
    patients = rng.normal(size=30)
    values = np.repeat(patients, 20)
    as_one = width(values, [str(n // 20) for n in range(600)])
    as_many = width(values, [str(n) for n in range(600)])
    assert as_one > 3 * as_many


def test_it_is_the_same_every_time():
    assert np.array_equal(resample(["a", "b", "c"]), resample(["a", "b", "c"]))


def test_what_is_hardly_ever_defined_has_no_interval():
    assert interval(np.array([np.nan, np.nan, np.nan, 1.0])) is None
    assert interval(np.array([])) is None
