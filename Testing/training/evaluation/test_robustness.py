"""Robustness of readers whom no change, or one known change, disturbs."""

import csv
import json

import numpy as np
import pytest
from readers import Obedient, Stubborn, write_films

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.figures import to_rgb
from training import run
from training.evaluation.means import OVER_SETS, Measured, mean, means_by_set
from training.evaluation.robustness.asking import PerturbedRow, evaluate_robustness
from training.evaluation.robustness.perturbations import NONE, PERTURBATIONS, Perturbation
from training.evaluation.robustness.plot import robustness_figure
from training.evaluation.robustness.tables import (
    robustness_csv,
    robustness_markdown,
    summarise_robustness,
)
from training.records import read_records, select_sets

JPEG, BRIGHTER, DARKER, LEFT, RIGHT, HALF = (p.name for p in PERTURBATIONS[1:])


@pytest.fixture
def films(tmp_path):
    return write_films(tmp_path / "data")


@pytest.fixture
def asked(films):
    """`asked(reader)`: rows of every finding under every perturbation."""
    records = read_records(films / "m3ds", "val")
    return lambda reader: evaluate_robustness(reader, records, films / "m3ds")


class AfraidOfTheDark(Obedient):
    """Finds nothing once the ground is darker than it was."""

    def draw(self, image, query):
        return super().draw(image, query if np.quantile(image, 0.3) > 28 else "")


def test_who_obeys_loses_next_to_nothing_to_any_change(asked):
    (changes,) = summarise_robustness(asked(Obedient())).values()
    assert list(changes) == [p.name for p in PERTURBATIONS]
    assert changes[NONE.name].giou.value == 1.0
    assert changes[NONE.name].giou.count == 22
    assert changes[NONE.name].giou.groups == 6
    for name in (JPEG, BRIGHTER, DARKER, HALF):
        assert changes[name].giou.value > 0.97
    # The borders of turned squares are mixed with what lies beside them.
    for name in (LEFT, RIGHT):
        assert changes[name].giou.value > 0.85


def test_a_change_that_disturbs_is_told_from_those_that_do_not(asked):
    (changes,) = summarise_robustness(asked(AfraidOfTheDark())).values()
    assert changes[DARKER].change.value == -1.0
    assert changes[DARKER].change.interval == (-1.0, -1.0)
    assert changes[DARKER].withheld.value == 1.0
    assert changes[DARKER].is_more_than_chance
    assert changes[BRIGHTER].change.value == 0.0
    assert not changes[BRIGHTER].is_more_than_chance


def test_images_are_encoded_once_for_each_change(asked):
    reader = Stubborn()
    rows = asked(reader)
    assert len(reader.images) == 6 * len(PERTURBATIONS)
    assert len(rows) == len(reader.queries) == 22 * len(PERTURBATIONS)


def test_a_finding_that_leaves_the_picture_is_not_counted(films):
    away = Perturbation("away", lambda image: image, truth=np.zeros_like)
    records = read_records(films / "m3ds", "val")
    rows = evaluate_robustness(Obedient(), records, films / "m3ds", (NONE, away))
    assert {row.iou for row in rows if row.perturbation == "away"} == {None}
    table = summarise_robustness(rows)
    assert list(table["COVID-CXR"]) == [NONE.name]
    assert "nan" not in robustness_markdown(rows).lower()
    assert len(robustness_figure(rows).axes) == 2


def test_nothing_to_look_for(films):
    records = select_sets(read_records(films / "m3ds", "val"), ["BUSI"])
    with pytest.raises(Sim4SegError, match="no image has a finding"):
        evaluate_robustness(Obedient(), records, films / "m3ds")


def perturbed(dataset, number, before, after):
    """Two rows of one question, as it is and darker."""
    words = (f"{dataset}/{number}", dataset, "tumor", f"{dataset}/{number}")
    return [
        PerturbedRow(*words, name, iou, iou > 0, 0.9)
        for name, iou in ((NONE.name, before), (DARKER, after))
    ]


ROWS = [row for n in range(20) for row in perturbed("LGG", n, n / 20, n / 20 - 0.04 * (n > 0))]
ROWS += [row for n in range(2) for row in perturbed("DRIVE", n, 0.6, 0.5)]


def test_changes_are_paired_and_sets_weigh_alike():
    table = summarise_robustness(ROWS)
    change = table["LGG"][DARKER].change
    # Quality varies widely between patients, its change hardly.
    low, high = change.interval
    assert change.value == pytest.approx(-0.038)
    assert low < change.value < high
    assert high - low < 0.02
    giou_low, giou_high = table["LGG"][DARKER].giou.interval
    assert giou_high - giou_low > 0.2
    assert table[OVER_SETS][DARKER].change.value == pytest.approx((-0.038 - 0.1) / 2)
    assert table[OVER_SETS][DARKER].is_more_than_chance


def test_two_patients_are_no_evidence():
    table = summarise_robustness(ROWS)
    assert table["DRIVE"][DARKER].change.interval == pytest.approx((-0.1, -0.1))
    assert not table["DRIVE"][DARKER].is_more_than_chance
    lines = robustness_markdown(ROWS).splitlines()
    (drive,) = (line for line in lines if line.startswith("| DRIVE"))
    (lgg,) = (line for line in lines if line.startswith("| LGG"))
    assert drive == "| DRIVE | 2 | 0.600 | 0.500 (−0.100) |"
    assert lgg == "| LGG | 20 | 0.475 | **0.437 (−0.038)** |"


def test_the_table_for_programs_has_every_set_and_change():
    lines = list(csv.DictReader(robustness_csv(ROWS).splitlines()))
    assert [(line["set"], line["perturbation"]) for line in lines] == [
        (dataset, name) for dataset in ("DRIVE", "LGG", OVER_SETS) for name in (NONE.name, DARKER)
    ]
    assert float(lines[1]["change"]) == pytest.approx(-0.1)


def test_the_plot_names_the_set_that_loses_most():
    figure = robustness_figure(ROWS)
    _, right = figure.axes
    assert [text.get_text() for text in right.texts] == ["DRIVE (2)"]
    assert to_rgb(figure).shape[1] > 1000


def test_questions_without_value_count_nowhere():
    values = [Measured("A", "a", 1.0), Measured("A", "b", None), Measured("B", "c", None)]
    assert mean(values).count == mean(values).groups == 1
    assert mean(values).interval is None
    assert list(means_by_set(values)) == ["A"]
    assert mean([]).value is None


def test_the_command_writes_tables_and_plot(made_up_data, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SIM4SEG_DATA", str(made_up_data))
    out = tmp_path / "out"
    arguments = ["robustness", "--sets", "PH2", "--every", "2", "--device", "cpu", "--to", str(out)]
    assert run.main(arguments) == 0
    printed = capsys.readouterr().out
    assert JPEG in printed
    assert printed.strip() in (out / "robustness.md").read_text()
    rows = json.loads((out / "rows.json").read_text())["questions"]
    assert {row["dataset"] for row in rows} == {"PH2"}
    assert (out / "robustness.csv").exists()
    assert (out / "robustness.png").stat().st_size > 10_000
    assert run.main(arguments) == 2
    assert "not empty" in capsys.readouterr().err
