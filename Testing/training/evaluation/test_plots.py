import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from Sim4SegCore.figures import to_rgb
from training.evaluation import auroc, summarise
from training.evaluation.plots import (
    diagnosis_figure,
    overlap_figure,
    reliability_figure,
    roc_figure,
    roc_points,
)

SCORED = st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=2, max_size=30)


@given(SCORED)
def test_the_area_under_the_drawn_curve_is_the_auroc(scored):
    scores, present = zip(*scored, strict=True)
    assume(len(set(present)) == 2)
    fall, rise = roc_points(np.array(scores, float), np.array(present))
    assert np.trapezoid(rise, fall) == pytest.approx(auroc(scores, present))


def test_sets_stand_in_the_order_of_the_table(mixed_rows):
    table = summarise(mixed_rows, 0.5)
    for figure in (overlap_figure(table), diagnosis_figure(table)):
        labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert labels == ["LGG  (24)", "PH2  (6)", "mean over sets"]


def test_curves_carry_their_auroc(mixed_rows):
    figure = roc_figure(mixed_rows, 0.5)
    lines = {line.get_label().split(",")[0]: line.get_label() for line in figure.axes[0].lines}
    lgg = [row for row in mixed_rows if row.dataset == "LGG"]
    expected = auroc([r.presence for r in lgg], [r.present for r in lgg])
    assert lines["LGG"] == f"LGG, {expected:.2f}"
    assert "PH2" not in lines


def test_a_masks_confidence_is_drawn_against_its_dice(masked_row):
    truth, half = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    truth[4:16, 4:16] = True
    half[4:16, 4:10] = True
    rows = [masked_row(truth, truth, mask_confidence=0.9) for _ in range(6)]
    rows += [masked_row(half, truth, mask_confidence=0.4) for _ in range(6)]
    rows += [masked_row(half, truth)]
    axes = reliability_figure(rows).axes[2]
    assert axes.get_title() == "mask"
    points = axes.collections[-1].get_offsets()
    assert points.tolist() == [pytest.approx([0.4, 2 / 3]), pytest.approx([0.9, 1.0])]
    (text,) = (t.get_text() for t in axes.texts)
    assert text == f"ECE {(2 / 3 - 0.4 + 0.1) / 2:.3f}\nn = 12"


def test_figures_can_be_drawn_without_anything_to_show(row):
    rows = [row(diagnosis=None)]
    table = summarise(rows, 0.5)
    for figure in (
        overlap_figure(table), diagnosis_figure(table), reliability_figure(rows),
        roc_figure(rows, 0.5),
    ):  # fmt: skip
        assert to_rgb(figure).std() > 0
