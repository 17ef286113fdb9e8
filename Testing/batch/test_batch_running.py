"""What a batch does: once, again, changed, broken."""

import json
import os
import re
import time

import numpy as np
import pytest
from batch_helpers import draw, read_table
from PIL import Image

from Sim4SegCore import cli
from Sim4SegCore.batch.reading import Budget
from Sim4SegCore.errors import Sim4SegError

QUERY = "Is there a lesion?"


def test_every_study_gets_a_folder_and_a_row(cohort, batch, tmp_path):
    code, _ = batch(cohort, "--query", QUERY)
    assert code == 0
    table = read_table(tmp_path / "out")
    assert [row["id"] for row in table] == ["a.png", "b.png", "sub/a.png", "sub/Ä ö.png", "z.jpg"]
    for row in table:
        folder = tmp_path / "out" / row["folder"]
        assert {path.name for path in folder.iterdir()} == {
            "mask.png",
            "overlay.png",
            "similarity.png",
            "explanation.png",
            "report.md",
            "thumbnail.png",
            "result.json",
        }
        result = json.loads((folder / "result.json").read_text())
        assert row["diagnosis"] == result["diagnosis"]["label"] == "nevus"
        assert float(row["confidence"]) == result["diagnosis"]["confidence"]
        assert float(row["presence_confidence"]) == result["findings"][0]["confidence"]
        mask = np.asarray(Image.open(folder / "mask.png")) > 0
        assert float(row["area_px"]) == mask.sum() > 0
        assert row["status"] == "done" and row["present"] == "true"
    assert len({row["folder"] for row in table}) == 5
    assert (tmp_path / "out/contact_sheet_001.png").is_file()
    assert len(read_table(tmp_path / "out", "timings.csv")) == 5


def test_several_queries_share_one_encoding(cohort, batch, tmp_path):
    queries = tmp_path / "queries.csv"
    queries.write_text("name,query\none,What is it?\ntwo,Is there a lesion?\n")
    code, predictor = batch(cohort, "--queries", queries)
    assert code == 0
    assert len(predictor.encoded) == 5
    assert len(predictor.asked) == 10
    assert len(read_table(tmp_path / "out")) == 10


def test_running_again_asks_nothing_and_keeps_the_table(cohort, batch, tmp_path):
    batch(cohort, "--query", QUERY)
    before = (tmp_path / "out/results.csv").read_bytes()
    code, predictor = batch(cohort, "--query", QUERY)
    assert code == 0 and predictor.asked == [] and predictor.encoded == []
    assert (tmp_path / "out/results.csv").read_bytes() == before


def test_what_changed_is_asked_again_and_nothing_else(cohort, batch, tmp_path):
    batch(cohort, "--query", QUERY)
    old = {row["id"]: row for row in read_table(tmp_path / "out")}
    draw(cohort / "b.png", 77)
    draw(cohort / "new.png", 78)
    (cohort / "z.jpg").unlink()
    code, predictor = batch(cohort, "--query", QUERY)
    assert code == 0
    assert sorted(predictor.encoded) == ["b.png", "new.png"]
    new = {row["id"]: row for row in read_table(tmp_path / "out")}
    assert set(new) == set(old) - {"z.jpg"} | {"new.png"}
    assert new["b.png"]["area_px"] != old["b.png"]["area_px"]
    assert new["a.png"] == old["a.png"]
    mask = np.asarray(Image.open(tmp_path / "out" / new["b.png"]["folder"] / "mask.png")) > 0
    assert mask.sum() == float(new["b.png"]["area_px"])


def test_same_size_but_later_is_a_changed_input(cohort, batch):
    batch(cohort, "--query", QUERY)
    later = time.time_ns() + 10**9
    os.utime(cohort / "a.png", ns=(later, later))
    assert batch(cohort, "--query", QUERY)[1].encoded == ["a.png"]


def test_another_model_query_or_lost_result_is_no_longer_done(cohort, batch, tmp_path):
    batch(cohort, "--query", QUERY)
    assert len(batch(cohort, "--query", QUERY, model="other")[1].asked) == 5
    queries = tmp_path / "queries.csv"
    queries.write_text(f'name,query\n"{QUERY}","Is there a cyst?"\n')
    assert len(batch(cohort, "--queries", queries, model="other")[1].asked) == 5
    lost = tmp_path / "out" / read_table(tmp_path / "out")[0]["folder"] / "result.json"
    lost.unlink()
    assert batch(cohort, "--queries", queries, model="other")[1].encoded == ["a.png"]
    assert lost.is_file()


def test_overwrite_asks_everything_again(cohort, batch):
    batch(cohort, "--query", QUERY)
    assert len(batch(cohort, "--query", QUERY, "--overwrite")[1].asked) == 5


def test_a_broken_image_is_listed_and_stops_no_other(cohort, batch, tmp_path, capsys):
    good = (cohort / "a.png").read_bytes()
    (cohort / "b.png").write_bytes(good[: len(good) // 2])
    code, predictor = batch(cohort, "--query", QUERY)
    assert code == 3
    assert len(predictor.asked) == 4
    failed = [row for row in read_table(tmp_path / "out") if row["status"] == "failed"]
    assert [row["id"] for row in failed] == ["b.png"]
    assert "b.png" in failed[0]["reason"] and failed[0]["folder"] == ""
    assert "failed: b.png" in capsys.readouterr().out


def test_failures_are_tried_again_only_if_asked_or_repaired(cohort, batch, tmp_path):
    (cohort / "b.png").write_bytes(b"broken")
    assert batch(cohort, "--query", QUERY)[0] == 3
    manifest = tmp_path / "out/manifest.jsonl"
    lines = manifest.read_text().count("\n")
    assert batch(cohort, "--query", QUERY)[0] == 3
    assert manifest.read_text().count("\n") == lines
    assert batch(cohort, "--query", QUERY, "--retry-failed")[0] == 3
    assert manifest.read_text().count("\n") == lines + 1
    draw(cohort / "b.png", 1)
    code, predictor = batch(cohort, "--query", QUERY)
    assert code == 0 and predictor.encoded == ["b.png"]


def test_a_defect_in_one_answer_is_a_failure_without_its_message(cohort, batch, tmp_path):
    code, _ = batch(cohort, "--query", "explode")
    assert code == 3
    failed = [row for row in read_table(tmp_path / "out") if row["status"] == "failed"]
    assert [row["id"] for row in failed] == ["b.png"]
    assert "RuntimeError" in failed[0]["reason"]
    for path in (tmp_path / "out").rglob("*"):
        # Three letters can come about by chance in a compressed picture.
        assert path.is_dir() or path.suffix == ".png" or b"Doe" not in path.read_bytes()


def test_a_missing_file_of_a_table_is_a_failure(cohort, batch, tmp_path):
    table = tmp_path / "studies.csv"
    table.write_text(
        "id,image,query\nfirst,cohort/a.png,What is it?\nsecond,cohort/none.png,What is it?\n"
    )
    code, predictor = batch(table)
    assert code == 3 and predictor.encoded == ["a.png"]
    second = read_table(tmp_path / "out")[1]
    assert second["id"] == "second"
    assert re.search("no such file", second["reason"])
    draw(cohort / "none.png", 9)
    code, predictor = batch(table)
    assert code == 0 and predictor.encoded == ["none.png"]


def test_json_summary(cohort, batch, tmp_path, capsys):
    (cohort / "b.png").write_bytes(b"broken")
    batch(cohort, "--query", QUERY, "--json")
    summary = json.loads(capsys.readouterr().out)
    assert (summary["studies"], summary["tasks"], summary["done"]) == (5, 5, 4)
    assert summary["failures"][0]["id"] == "b.png"
    assert str(tmp_path / "out/results.csv") in summary["files"]


def test_parquet_holds_the_same_table(cohort, batch, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    batch(cohort, "--query", QUERY)
    columns = parquet.read_table(tmp_path / "out/results.parquet").to_pydict()
    table = read_table(tmp_path / "out")
    assert list(columns) == list(table[0])
    assert columns["id"] == [row["id"] for row in table]
    assert columns["area_px"] == [float(row["area_px"]) for row in table]
    assert columns["present"] == [True] * 5
    assert columns["area_mm2"] == [None] * 5


def test_a_folder_in_use_needs_overwrite(cohort, batch, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/notes.txt").write_text("mine")
    with pytest.raises(Sim4SegError, match="--overwrite"):
        batch(cohort, "--query", QUERY)
    assert batch(cohort, "--query", QUERY, "--overwrite")[0] == 0
    assert (tmp_path / "out/notes.txt").read_text() == "mine"


def test_output_inside_the_cohort_is_not_taken_for_images(cohort, batch):
    out = cohort / "out"
    batch(cohort, "--query", QUERY, out=out)
    assert batch(cohort, "--query", QUERY, out=out)[1].encoded == []
    assert len(read_table(out)) == 5
    with pytest.raises(Sim4SegError, match="another output"):
        batch(cohort, "--query", QUERY, "--overwrite", out=cohort)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--query"),
        (["--query", " "], "empty"),
        (["--query", "x", "--part-id", "0"], "belong together"),
        (["--query", "x", "--part-id", "2", "--num-parts", "2"], "no part 2"),
        (["--query", "x", "--merge"], "nothing else"),
        (["--queries", "none.csv"], "none.csv"),
    ],
)
def test_mistakes_end_with_one_line_before_the_model_is_loaded(
    arguments, message, cohort, tmp_path, capsys
):
    out = tmp_path / "out"
    assert cli.main(["batch", str(cohort), *arguments, "-o", str(out)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err and len(printed.err.splitlines()) == 1
    assert not out.exists()


def test_memory_is_bounded(cohort, batch, monkeypatch):
    """Reading stops while what is under way has used up the budget."""
    held, most = [], []
    take, give_back = Budget.take, Budget.give_back

    def counting_take(self, amount):
        take(self, amount)
        held.append(amount)
        most.append(sum(held))

    def counting_give_back(self, amount):
        if amount:
            held.remove(amount)
        give_back(self, amount)

    monkeypatch.setattr(Budget, "take", counting_take)
    monkeypatch.setattr(Budget, "give_back", counting_give_back)
    original = Budget.__init__
    monkeypatch.setattr(Budget, "__init__", lambda self, limit: original(self, 10_000))
    assert batch(cohort, "--query", QUERY)[0] == 0
    one = 24 * 32 * (3 + 5)
    assert len(most) == 5 and max(most) == one
    assert held == []
