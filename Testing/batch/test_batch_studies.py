"""What counts as a study: in folders, tables and DICOM trees."""

import os
import re

import pytest
from batch_helpers import draw, read_table, write_dicom
from pydicom.uid import generate_uid

from Sim4SegCore.batch.naming import folder_name
from Sim4SegCore.batch.plan import Job
from Sim4SegCore.batch.queries import read_queries
from Sim4SegCore.batch.reading import read_study
from Sim4SegCore.batch.studies import find_studies
from Sim4SegCore.errors import Sim4SegError

QUERY = "What is it?"


def test_a_folder_is_searched_in_a_fixed_order_without_hidden_and_foreign_files(tmp_path):
    for name in ("b.png", "a/x.jpg", "B.PNG.png", ".hidden.png", ".cache/y.png"):
        draw(tmp_path / name, 1)
    for name in ("README", "notes.txt", "volume.nii.gz", "header.nhdr", "pixels.raw"):
        (tmp_path / name).write_text("x" * 200)
    studies = find_studies(tmp_path, slice_index=3)
    assert [study.id for study in studies] == [
        "B.PNG.png",
        "a/x.jpg",
        "b.png",
        "header.nhdr",
        "volume.nii.gz",
    ]
    assert [study.slice_index for study in studies] == [None, None, None, 3, 3]


def test_dicom_series_and_files_become_studies(tmp_path):
    stack, radiographs, other = generate_uid(), generate_uid(), generate_uid()
    for place in range(3):
        write_dicom(tmp_path / f"Doe_Jane/ct/{place}", stack, place)
    for view in ("pa.dcm", "lateral.dcm"):
        write_dicom(tmp_path / "Doe_Jane/xray" / view, radiographs)
    write_dicom(tmp_path / "single/1.2.3", other)
    write_dicom(tmp_path / "single/report.dcm", other, sop_class="1.2.840.10008.5.1.4.1.1.88.11")
    (tmp_path / "single/damaged.dcm").write_bytes(b"no dicom at all")
    studies = find_studies(tmp_path, slice_index=1)
    by_image = {study.image: study for study in studies}
    assert set(by_image) == {
        "Doe_Jane/ct",
        "Doe_Jane/xray/pa.dcm",
        "Doe_Jane/xray/lateral.dcm",
        "single/1.2.3",
        "single/damaged.dcm",
    }
    assert by_image["Doe_Jane/ct"].slice_index == 1
    assert by_image["Doe_Jane/xray/pa.dcm"].slice_index is None
    dicom = [study.id for study in studies if study.image != "single/damaged.dcm"]
    assert all(re.fullmatch(r"series-[0-9a-f]{12}(-[0-9a-f]{12})?", name) for name in dicom)
    assert find_studies(tmp_path, slice_index=1) == studies


def test_copies_of_a_series_are_told_apart(tmp_path):
    uid = generate_uid()
    for folder in ("one", "two"):
        write_dicom(tmp_path / "files" / folder / "a.dcm", uid)
        for place in range(2):
            write_dicom(tmp_path / "stacks" / folder / f"{place}.dcm", uid, place)
    for copies in ("files", "stacks"):
        studies = find_studies(tmp_path / copies)
        assert len({study.id for study in studies}) == 2
        assert len({folder_name(study.id) for study in studies}) == 2


def test_series_that_share_a_folder_are_answered_each_on_its_own(batch, tmp_path):
    first, second = generate_uid(), generate_uid()
    for place in range(3):
        write_dicom(tmp_path / f"flat/a{place}", first, place)
        write_dicom(tmp_path / f"flat/b{place}", second, 10 - place)
    code, predictor = batch(tmp_path / "flat", "--query", QUERY, "--slice", "0")
    assert code == 0
    assert sorted(predictor.encoded) == ["a0", "b2"]
    assert [row["image"] for row in read_table(tmp_path / "out")] == [".", "."]
    write_dicom(tmp_path / "flat/b3", second, 7)
    code, predictor = batch(tmp_path / "flat", "--query", QUERY, "--slice", "0")
    assert code == 0 and predictor.encoded == ["b3"]


def test_a_series_that_is_split_over_folders_is_one_study(batch, tmp_path):
    uid = generate_uid()
    for place in range(4):
        write_dicom(tmp_path / f"tree/patient/{place // 2}/{place}", uid, place)
    code, predictor = batch(tmp_path / "tree", "--query", QUERY, "--slice", "3")
    assert code == 0 and predictor.encoded == ["3"]
    assert [row["image"] for row in read_table(tmp_path / "out")] == ["patient"]


def test_a_slice_that_goes_away_meanwhile_is_said(tmp_path):
    uid = generate_uid()
    for place in range(3):
        write_dicom(tmp_path / f"tree/{place}", uid, place)
    (study,) = find_studies(tmp_path / "tree", slice_index=0)
    (tmp_path / "tree/2").unlink()
    assert "1 of the 3 files" in read_study(Job(study, ())).reason


def test_a_dicom_tree_is_answered_without_identifiers_in_names_or_logs(batch, tmp_path, capsys):
    uid = generate_uid()
    for place in range(3):
        write_dicom(tmp_path / f"tree/s/{place}.dcm", uid, place)
    (tmp_path / "tree/bad.dcm").write_bytes(b"bad")
    code, predictor = batch(tmp_path / "tree", "--query", QUERY, "--slice", "2")
    assert code == 3 and predictor.encoded == ["2.dcm"]
    printed = capsys.readouterr()
    names = " ".join(str(path) for path in (tmp_path / "out").rglob("*"))
    for text in (printed.out, printed.err, names):
        assert "Doe" not in text and "4711" not in text and uid not in text
    series = next(row for row in read_table(tmp_path / "out") if row["status"] == "done")
    assert (tmp_path / "out" / series["folder"] / "mask.nii.gz").is_file()
    assert float(series["area_mm2"]) == float(series["area_px"])


def test_a_series_without_a_slice_says_which_there_are(batch, tmp_path):
    uid = generate_uid()
    for place in range(3):
        write_dicom(tmp_path / f"tree/{place}.dcm", uid, place)
    assert batch(tmp_path / "tree", "--query", QUERY)[0] == 3
    assert "--slice K (0 to 2)" in read_table(tmp_path / "out")[0]["reason"]


def test_a_new_slice_in_a_series_makes_it_new(batch, tmp_path):
    uid = generate_uid()
    for place in range(2):
        write_dicom(tmp_path / f"tree/{place}.dcm", uid, place)
    batch(tmp_path / "tree", "--query", QUERY, "--slice", "0")
    assert batch(tmp_path / "tree", "--query", QUERY, "--slice", "0")[1].asked == []
    write_dicom(tmp_path / "tree/2.dcm", uid, 2)
    assert len(batch(tmp_path / "tree", "--query", QUERY, "--slice", "0")[1].asked) == 1
    assert len(batch(tmp_path / "tree", "--query", QUERY, "--slice", "1")[1].asked) == 1


def test_a_table_with_ids_slices_and_several_queries(tmp_path):
    table = tmp_path / "studies.csv"
    table.write_text(
        "\ufeffID;Image;query;slice;age\n"
        "p1;a.nii.gz;What is it?;4;50\n"
        "p1;a.nii.gz;Is there a cyst, or not?;4;50\n"
        ";b.png;;;\n"
        "\n",
        encoding="utf-8",
    )
    first, second = sorted(find_studies(table), key=lambda study: study.id, reverse=True)
    assert (first.id, first.slice_index) == ("p1", 4)
    assert [query.text for query in first.queries] == ["What is it?", "Is there a cyst, or not?"]
    assert first.source == tmp_path / "a.nii.gz"
    assert (second.id, second.slice_index, second.queries) == ("b.png", None, ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,file\n1,a.png\n", "column named 'image'"),
        ("image\n", "no lines"),
        ("image,image\na,b\n", "several columns"),
        ("id,image\n1,a.png\n1,b.png\n", "line 3: the id '1'"),
        ("id,image\n1,a.png\n1,a.png\n", "there twice"),
        ("image,slice\na.nii,two\nb.nii,-1\n", "line 2.*line 3"),
        ("id,image\n1,\n", "line 2.*empty"),
        ("image,query\na.png,Is there, or not?,x\n", "line 2 has more values"),
        ("image,query\na.png,W\na.png,W\n", "one name"),
        ('image,query\na.png,"W\n', "quotes"),
    ],
)
def test_ambiguous_tables_are_refused_with_line_numbers(text, message, tmp_path):
    table = tmp_path / "studies.csv"
    table.write_text(text)
    with pytest.raises(Sim4SegError, match=message):
        find_studies(table)


def test_tables_that_are_not_utf8_are_refused(tmp_path):
    (tmp_path / "s.csv").write_bytes("image\nä.png\n".encode("latin-1"))
    with pytest.raises(Sim4SegError, match="UTF-8"):
        find_studies(tmp_path / "s.csv")


def test_nothing_to_do_is_said(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("x")
    for place, message in (
        ("empty", "holds no image"),
        ("none", "no folder or file"),
        ("a.txt", "neither"),
    ):
        with pytest.raises(Sim4SegError, match=message):
            find_studies(tmp_path / place)


def test_queries_have_names_and_patterns(tmp_path, batch, cohort):
    queries = tmp_path / "q.csv"
    queries.write_text('query,name,pattern\n"Is there, or not?",,sub/*\nWhat is it?,what,*.jpg\n')
    code, predictor = batch(cohort, "--queries", queries)
    assert code == 0
    assert sorted(predictor.asked) == [
        ("a.png", "Is there, or not?"),
        ("z.jpg", "What is it?"),
        ("Ä ö.png", "Is there, or not?"),
    ]
    assert [row["query_name"] for row in read_table(tmp_path / "out")] == [
        "Is there, or not?",
        "Is there, or not?",
        "what",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("question\nx\n", "column named 'query'"),
        ("query,name\n,a\n", "line 2.*empty"),
        ("query,name\nA,n\nB,n\n", "line 3"),
        (f"query\n{'x' * 1001}\n", "line 2.*1001"),
    ],
)
def test_unusable_queries_are_refused(text, message, tmp_path):
    (tmp_path / "q.csv").write_text(text)
    with pytest.raises(Sim4SegError, match=message):
        read_queries(tmp_path / "q.csv")


def test_one_study_is_not_asked_two_queries_of_one_name(tmp_path, batch, cohort):
    queries = tmp_path / "q.csv"
    queries.write_text("query,name,pattern\nA,n,*.png\nB,n,a*\n")
    with pytest.raises(Sim4SegError, match=r"a\.png.*'n'"):
        batch(cohort, "--queries", queries)


def test_folder_names_are_safe_short_and_different():
    names = ["a/b", "a_b", "A_b", "..", "", "x" * 500, "x" * 501, "Ä ö", "CON", "\udcff", "a\n"]
    folders = [folder_name(name) for name in names]
    assert len({folder.lower() for folder in folders}) == len(names)
    for folder in folders:
        assert len(os.fsencode(folder)) < 200
        assert not re.search(r'[/\\:*?"<>|\s]', folder) and not folder.startswith(".")
