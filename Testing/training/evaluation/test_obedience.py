"""Obedience of readers who obey, and of one who always draws the same."""

import csv
import dataclasses
import itertools
import json
import random

import pytest
from readers import NAMES, Obedient, Stubborn, write_films

from Sim4SegCore.figures import to_rgb
from training import run
from training.cot.queries import MULTI_QUERIES, NORMAL_QUERIES
from training.evaluation.obedience.asking import evaluate_obedience
from training.evaluation.obedience.phrasings import (
    PHRASINGS,
    UNSEEN,
    seen_phrasings,
    unseen_phrasings,
)
from training.evaluation.obedience.plan import (
    NEVER_DRAWN,
    NORMAL,
    NOT_THERE,
    PARAPHRASED_PER_SET,
    TAUGHT_ELSEWHERE,
    plan_visits,
)
from training.evaluation.obedience.report import obedience_markdown, write_obedience
from training.evaluation.obedience.sheet import COLUMNS, ContactSheet
from training.evaluation.obedience.tables import (
    absent_lines,
    cross_lines,
    paraphrase_lines,
    sentence_lines,
    structure_lines,
)
from training.records import Record, annotated_targets, read_records, thin_out
from training.targets import SYNONYMS, elsewhere, synonyms
from training.text import OPEN_QUERIES, PLURAL_QUERIES, QUERIES


@pytest.fixture
def films(tmp_path):
    return write_films(tmp_path / "data")


@pytest.fixture
def visits(films):
    records = read_records(films / "m3ds", "val")
    return plan_visits(records, annotated_targets(records))


@pytest.fixture
def asked(films, visits):
    """`asked(reader)`: rows of everything that is planned."""
    return lambda reader: evaluate_obedience(reader, visits, films / "m3ds")


def test_who_obeys_gives_each_structure_its_own_mask(asked):
    rows = asked(Obedient()).structures
    lines = {line["asked"]: line for line in structure_lines(rows)}
    assert set(lines) == {*COLUMNS, "cardiomediastinum"}
    assert all(line["dice"] == line["iou"] == 1.0 for line in lines.values())
    assert lines["heart"]["dice_n"] == 6
    assert lines["ground glass opacities"]["dice_n"] == 4
    for line in cross_lines(rows):
        assert line["iou"] == line["true_iou"] == float(line["own"])


def test_who_draws_the_same_for_every_query_is_found_out(asked):
    rows = asked(Stubborn()).structures
    cross = {(line["asked"], line["truth"]): line["iou"] for line in cross_lines(rows)}
    for truth in ("left lung", "right lung", "cardiomediastinum"):
        by_name = {cross[name, truth] for name in ("left lung", "right lung", "heart")}
        assert len(by_name) == 1
        assert 0 < by_name.pop() < 0.5
    assert all(line["no_mask"] == 0 for line in structure_lines(rows))


def test_what_is_absent_gets_no_mask_from_who_obeys(asked):
    found = {True: asked(Obedient()), False: asked(Stubborn())}
    for obeys, rows in found.items():
        lines = {(line["kind"], line["set"]): line for line in absent_lines(rows.absent)}
        assert lines[NOT_THERE, "COVID-CXR"]["empty_n"] == 2
        assert lines[NORMAL, "BUSI"]["empty_n"] == 6
        assert lines[NEVER_DRAWN, "mean over sets"]["empty_n"] == 12
        for line in lines.values():
            assert line["empty"] == (1.0 if obeys else 0.0)
            assert (line["covered"] is None) == obeys


def test_absent_targets_are_surely_absent(visits):
    for visit in visits:
        for question in visit.absent:
            assert not visit.record.is_present(question.target)
            if question.kind == TAUGHT_ELSEWHERE:
                assert elsewhere(question.target, visit.record.body_part)
            if question.kind == NEVER_DRAWN:
                assert question.target not in SYNONYMS
    kinds = {question.kind for visit in visits for question in visit.absent}
    # Breast images are asked for chest targets; the films' own set has no mask of a breast.
    assert kinds == {NOT_THERE, NORMAL, TAUGHT_ELSEWHERE, NEVER_DRAWN}
    lungs = {q.target for v in visits for q in v.absent if q.kind == NOT_THERE}
    assert lungs == {"ground glass opacities"}


def test_phrasings_agree_for_who_obeys_any_words(asked):
    (line,) = paraphrase_lines(asked(Obedient()).paraphrases)
    for words in ("seen", "unseen"):
        assert line[f"{words}_agreement"] == line[f"{words}_stable"] == 1.0
        assert line[f"{words}_dice"] == 1.0
        assert line[f"{words}_agreement_n"] == 6


class OnlyTaught(Obedient):
    """Understands nothing but the sentences of training; finds nothing else."""

    def draw(self, image, query):
        starts = {template.split("{")[0].lower() for template in (*QUERIES, *PLURAL_QUERIES)}
        starts = starts - {""} | set(NAMES)
        understood = any(query.lower().startswith(start) for start in starts)
        return super().draw(image, query if understood else "")


class Unsure(Obedient):
    """Finds nothing every other time that it is asked."""

    def draw(self, image, query):
        return super().draw(image, query if len(self.queries) % 2 else "")


def test_unseen_words_are_told_apart_from_seen_ones(asked):
    rows = asked(OnlyTaught()).paraphrases
    (line,) = paraphrase_lines(rows)
    assert (line["seen_no_mask"], line["seen_dice"]) == (0.0, 1.0)
    # Two empty masks agree, although neither is right.
    assert (line["unseen_no_mask"], line["unseen_dice"]) == (1.0, 0.0)
    assert line["unseen_agreement"] == 1.0
    assert {s["sentence"] for s in sentence_lines(rows) if s["dice"] == 0} <= set(UNSEEN)


def test_masks_that_come_and_go_do_not_agree(asked):
    rows = asked(Unsure()).paraphrases
    # Of five masks two or three are there: 4 of 10 pairs are alike.
    assert {row.agreement for row in rows} == {0.4}
    (line,) = paraphrase_lines(rows)
    assert line["seen_stable"] == line["unseen_stable"] == 0.0


def test_images_are_encoded_once(asked, visits):
    reader = Obedient()
    asked(reader)
    assert len(reader.images) == len(visits)
    assert len(reader.queries) == sum(
        len(v.structures) + len(v.absent) + (2 * PHRASINGS if v.paraphrases else 0) for v in visits
    )


@pytest.mark.parametrize("target", sorted(SYNONYMS))
def test_phrasings_name_their_target_in_different_sentences(target):
    rng = random.Random(target)
    for make in (seen_phrasings, unseen_phrasings):
        said = make(target, "BUSI", "ultrasound", rng)
        assert len({one.sentence for one in said}) == len({one.query for one in said}) == PHRASINGS
        for one in said:
            assert any(name.lower() in one.query.lower() for name in synonyms(target))
            assert "{" not in one.query


def test_unseen_sentences_are_in_no_training_query():
    taught = {*QUERIES, *PLURAL_QUERIES, *OPEN_QUERIES, *NORMAL_QUERIES, *MULTI_QUERIES}
    same = {template.replace("{targets}", "{target}") for template in taught}
    assert not same & set(UNSEEN)
    # Nor does one begin as a training query does.
    begins = {sentence.split("{")[0] for sentence in same} - {""}
    assert not {sentence.split("{")[0] for sentence in UNSEEN} & begins


def test_many_images_are_sampled_evenly():
    records = [
        Record(str(n), "LGG", "", {"tumor": "m"}, "MRI", "brain", None, "", "") for n in range(90)
    ]
    reworded = [int(v.record.id) for v in plan_visits(records, {}) if v.paraphrases]
    assert len(reworded) == PARAPHRASED_PER_SET
    assert {b - a for a, b in itertools.pairwise(reworded)} <= {4, 5}


def test_every_nth_of_each_set_is_kept():
    few = Record("b", "BRISC", "", {}, "MRI", "brain", None, "", "")
    many = [dataclasses.replace(few, id=str(n), dataset="LGG") for n in range(10)]
    kept = thin_out([*many[:5], few, *many[5:]], 4)
    assert [record.id for record in kept] == ["0", "4", "b", "8"]
    assert thin_out(many, 1) == many


def test_the_sheet_shows_films_asked_for_every_column(films, visits, tmp_path):
    sheet = ContactSheet.of(visits, count=2)
    rows = evaluate_obedience(Obedient(), visits, films / "m3ds", sheet)
    figure = sheet.figure()
    assert len(figure.axes) == 2 * len(COLUMNS)
    words = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert words == ["Dice 1.00"] * 8
    assert [text.get_text() for text in figure.texts if "“" in text.get_text()] == [
        f"“{name}”" for name in COLUMNS
    ]
    assert to_rgb(figure).shape[1] > 1200
    write_obedience(tmp_path / "out", rows, sheet, overwrite=False)
    assert (tmp_path / "out" / "chest.png").stat().st_size > 10_000


def test_without_films_there_is_no_sheet(made_up_data, tmp_path):
    folder = made_up_data / "m3ds"
    records = read_records(folder, "val")
    visits = plan_visits(records, annotated_targets(records))
    sheet = ContactSheet.of(visits)
    rows = evaluate_obedience(Stubborn(), visits, folder, sheet)
    assert sheet.is_empty
    write_obedience(tmp_path / "out", rows, sheet, overwrite=False)
    assert not (tmp_path / "out" / "chest.png").exists()
    assert "Structures" not in obedience_markdown(rows)
    assert "tumor" in {row.target for row in rows.absent if row.kind == NORMAL}


def test_the_command_writes_tables_and_rows(films, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SIM4SEG_DATA", str(films))
    out = tmp_path / "out"
    arguments = ["obedience", "--every", "6", "--device", "cpu", "--to", str(out)]
    assert run.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "| asked for \\ true mask |" in printed
    assert printed.strip() in (out / "obedience.md").read_text()
    rows = json.loads((out / "rows.json").read_text())
    assert {row["asked"] for row in rows["structures"]} >= {"heart", "left lung"}
    assert len(rows["paraphrases"]) == 2
    with (out / "absent.csv").open() as file:
        assert {line["set"] for line in csv.DictReader(file)} >= {"BUSI", "COVID-CXR"}
    assert (out / "chest.png").exists()
    assert run.main(arguments) == 2
    assert "not empty" in capsys.readouterr().err
