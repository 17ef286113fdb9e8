"""The table says which images are outside what the model was trained on."""

import json

import pytest
from batch_helpers import draw, draw_volume, read_table

FAMILIAR = ("--query", "Is it familiar?")


@pytest.fixture
def two(tmp_path):
    """An image that is outside, and one that is not, if it is asked."""
    for seed, name in enumerate(["a.png", "b.png"]):
        draw(tmp_path / "two" / name, seed)
    return tmp_path / "two"


def flags(out):
    return {row["image"]: row["is_outside"] for row in read_table(out)}


def test_each_image_is_told_apart(two, batch, tmp_path):
    batch(two, *FAMILIAR)
    assert flags(tmp_path / "out") == {"a.png": "true", "b.png": "false"}


def test_volumes_are_told_apart_too(batch, tmp_path):
    for seed, name in enumerate(["a.nii.gz", "b.nrrd"]):
        draw_volume(tmp_path / "scans" / name, seed)
    batch(tmp_path / "scans", *FAMILIAR, "--mode", "slices")
    assert flags(tmp_path / "out") == {"a.nii.gz": "true", "b.nrrd": "false"}


def test_what_is_unknown_or_failed_is_neither(two, batch, tmp_path):
    queries = tmp_path / "queries.csv"
    queries.write_text("name,query\nplain,What is it?\nfailing,Is it familiar? explode\n")
    batch(two, "--queries", queries)
    rows = {(row["image"], row["query_name"]): row for row in read_table(tmp_path / "out")}
    assert rows["b.png", "failing"]["status"] == "failed"
    told = {key: row["is_outside"] for key, row in rows.items()}
    assert told.pop(("a.png", "failing")) == "true"
    assert set(told.values()) == {""}
    parquet = pytest.importorskip("pyarrow.parquet").read_table(tmp_path / "out/results.parquet")
    assert str(parquet.schema.field("is_outside").type) == "bool"
    columns = parquet.select(["image", "query_name", "is_outside"]).to_pydict()
    found = {(image, name): flag for image, name, flag in zip(*columns.values(), strict=True)}
    assert found.pop(("a.png", "failing")) is True
    assert set(found.values()) == {None}


def test_a_batch_that_an_older_version_began_goes_on(two, batch, tmp_path):
    batch(two, *FAMILIAR)
    manifest = tmp_path / "out/manifest.jsonl"
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    for line in lines:
        del line["answer"]["is_outside"]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    code, predictor = batch(two, *FAMILIAR)
    assert code == 0 and predictor.asked == []
    assert set(flags(tmp_path / "out").values()) == {""}
