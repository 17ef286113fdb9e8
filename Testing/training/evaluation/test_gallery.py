"""The gallery shows the worst case first, and each patient once."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

from Sim4SegCore.figures import to_rgb
from training.evaluation.gallery import PREDICTED_COLOUR, TRUE_COLOUR, WorstCases, severity
from training.records import read_records


def square(left):
    mask = np.zeros((64, 48), bool)
    mask[20:40, left : left + 15] = True
    return mask


@pytest.fixture
def records(made_up_data: Path):
    return read_records(made_up_data / "m3ds", "val")


@pytest.fixture
def worst(made_up_data):
    return WorstCases(made_up_data / "m3ds", 0.5, per_set=2)


def test_worst_first_and_no_more_than_asked(worst, records, masked_row):
    for n, shift in enumerate((2, 14, 8, 0)):
        row = masked_row(square(5 + shift), square(5), id=str(n))
        worst(records[1], row, square(5 + shift))
    shown = worst.cases()["LGG"]
    assert [case.row.id for case in shown] == ["1", "2"]
    assert shown[0].row.iou < shown[1].row.iou


def test_a_patient_is_shown_once_at_the_worst(worst, records, masked_row):
    for n, shift in enumerate((3, 12, 6)):
        row = masked_row(square(5 + shift), square(5), id=str(n), group="p")
        worst(records[1], row, square(5 + shift))
    assert [case.row.id for case in worst.cases()["LGG"]] == ["1"]


def test_faultless_answers_are_not_shown(worst, records, masked_row, row):
    worst(records[1], masked_row(square(5), square(5)), square(5))
    worst(records[1], row(present=False, mask_drawn=True, presence=0.2), square(5))
    assert worst.cases() == {}


def test_what_misleads_more_is_worse(masked_row, row):
    good = masked_row(square(6), square(5))
    missed = masked_row(square(6), square(5), presence=0.1)
    of_nothing = row(present=False, presence=0.8)
    assert severity(missed, 0.5) > severity(good, 0.5)
    assert severity(of_nothing, 0.5)[0] == 1.0
    sure = row(predicted="no tumor", confidence=0.99)
    unsure = row(predicted="no tumor", confidence=0.4)
    assert severity(sure, 0.5) > severity(unsure, 0.5) > severity(row(), 0.5)


def test_both_outlines_are_drawn_and_named(worst, records, masked_row):
    mask = np.zeros((48, 64), bool)
    mask[2:12, 2:12] = True
    row = masked_row(mask, mask[::-1], dataset="PH2", target="skin lesion", id="PH2/x7")
    worst(records[0], row, mask)
    figure = worst.figure("PH2")
    outlines = figure.axes[0].collections
    assert [to_hex(lines.get_edgecolor()[0]) for lines in outlines] == [
        TRUE_COLOUR,
        PREDICTED_COLOUR,
    ]
    words = [text.get_text() for text in figure.texts]
    assert "1.  IoU 0.00" in words
    assert "true: lower-grade glioma" in words
    assert "model: lower-grade glioma (90%)" in words
    assert "x7" in words
    assert to_rgb(figure).shape[1] > 1000


def test_a_withheld_mask_is_dotted_and_said(worst, records, masked_row):
    mask = np.zeros((48, 64), bool)
    mask[10:30, 10:30] = True
    worst(records[0], masked_row(mask, mask, presence=0.2, target="skin lesion"), mask)
    figure = worst.figure("LGG")
    assert "1.  IoU 0.00 (withheld mask 1.00)" in [text.get_text() for text in figure.texts]
    assert figure.axes[0].collections[1].get_linestyle()[0][1] is not None


def test_thin_targets_are_filled(worst, records, masked_row):
    mask = np.zeros((64, 64), bool)
    mask[:8] = True
    worst(records[2], masked_row(mask, ~mask, target="retinal vessels"), mask)
    axes = worst.figure("LGG").axes[0]
    assert len(axes.collections) == 0
    paint = axes.images[1].get_array()
    # The made-up record's vessels are a disc in the middle; the mask is a stripe above it.
    assert to_hex(paint[0, 0]) == PREDICTED_COLOUR
    assert to_hex(paint[32, 32]) == TRUE_COLOUR
    assert paint[60, 2, 3] == 0
