"""An evaluation's rows come back from its folder as they were."""

import dataclasses

import pytest

from Sim4SegCore.errors import Sim4SegError
from training.evaluation import summarise, write_evaluation
from training.evaluation.stored import read_evaluation
from training.evaluation.tables import metrics_json, rows_csv


def test_rows_come_back_as_they_were(mixed_rows, tmp_path):
    rows = [
        *mixed_rows,
        dataclasses.replace(
            mixed_rows[0], id="x", diagnosis=None, predicted=None, modality_right=None,
            uncertain=True, mask_confidence=0.25,
        ),
    ]  # fmt: skip
    write_evaluation(tmp_path / "e", rows, summarise(rows, 0.3), 0.3)
    assert read_evaluation(tmp_path / "e") == (rows, 0.3)


@pytest.mark.parametrize("name", ["rows.csv", "metrics.json"])
def test_what_is_missing_or_damaged_is_said(mixed_rows, tmp_path, name):
    (tmp_path / "rows.csv").write_text(rows_csv(mixed_rows))
    (tmp_path / "metrics.json").write_text(metrics_json(summarise(mixed_rows, 0.3), 0.3))
    assert read_evaluation(tmp_path) == (mixed_rows, 0.3)
    path = tmp_path / name
    path.write_text(path.read_text().replace("presence", "p"))
    with pytest.raises(Sim4SegError, match="damaged; evaluate again"):
        read_evaluation(tmp_path)
    path.unlink()
    with pytest.raises(Sim4SegError, match="no evaluation in"):
        read_evaluation(tmp_path)
