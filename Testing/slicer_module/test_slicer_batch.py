"""Many images and many queries from the console."""

import csv
import json
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from Sim4SegLib import batch
from Sim4SegLib.batch import FolderBatch, ask_all, read_queries
from Sim4SegLib.connection import Connection, ServiceSettings
from Sim4SegLib.model_store import HUB_CACHE_VARIABLE

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.examples import draw_phantom

LIMIT_S = 240.0


class Node:
    def __init__(self, name):
        self.name = name

    def GetName(self):
        return self.name


class Result:
    diagnosis = "benign"
    confidence = 0.75
    document = {"findings": [{"label": "breast mass", "present": True}]}  # noqa: RUF012


def ask(node, query):
    if node.name == "broken":
        raise Sim4SegError("the volume has NaN or infinite voxels; replace them first")
    return Result()


def test_each_query_is_asked_about_each_volume_and_failures_do_not_end_it(tmp_path):
    told = []
    nodes = [Node("one"), Node("broken"), Node("Zwölf")]
    rows = ask_all(nodes, ["Is there a mass?", "Is it benign?"], ask, told.append)
    assert len(rows) == 6 and told == list(rows)
    assert [row.error[:10] for row in rows] == ["", "", "the volume", "the volume", "", ""]
    table = tmp_path / "rows.csv"
    rows.save(table)
    with table.open(encoding="utf-8", newline="") as file:
        first, *_, last = list(csv.DictReader(file))
    assert first["found"] == "breast mass" and first["confidence"] == "0.750"
    assert last["volume"] == "Zwölf" and last["query"] == "Is it benign?"
    with pytest.raises(Sim4SegError, match="cannot be written"):
        rows.save(table)


def test_queries_come_from_a_csv_file(tmp_path):
    path = tmp_path / "queries.csv"
    path.write_text("\ufeffname,query\na,Is there a mass?\nb, \nc,Tümör?\n", encoding="utf-8")
    assert read_queries(path) == ["Is there a mass?", "Tümör?"]
    path.write_text("frage\nIs there a mass?\n", encoding="utf-8")
    with pytest.raises(Sim4SegError, match="column 'query'"):
        read_queries(path)
    with pytest.raises(Sim4SegError, match="cannot be read"):
        read_queries(tmp_path / "missing.csv")


def test_a_folder_is_not_sent_to_a_server(tmp_path):
    server = ServiceSettings("https://sim4seg.example", "token")
    with pytest.raises(Sim4SegError, match="on this computer"):
        FolderBatch(tmp_path, tmp_path / "out", sys.executable, query="?", settings=server)
    with pytest.raises(Sim4SegError, match="either a query or"):
        FolderBatch(tmp_path, tmp_path / "out", sys.executable)


def finished(made):
    lines, until = [], time.monotonic() + LIMIT_S
    while not made.is_over:
        assert time.monotonic() < until, lines
        lines += made.poll()
    return made.finish(), lines


@pytest.fixture
def studies(tmp_path):
    folder = tmp_path / "Bilder für Sim4Seg"
    folder.mkdir()
    for seed in range(2):
        Image.fromarray(draw_phantom(seed)[0]).save(folder / f"lesion {seed}.png")
    return folder


@pytest.mark.slow
def test_a_folder_is_answered_and_the_same_call_goes_on(studies, tmp_path):
    queries = tmp_path / "queries.csv"
    queries.write_text("query\nIs there a skin lesion?\n", encoding="utf-8")
    output, settings = tmp_path / "out", ServiceSettings(device="cpu")

    def make():
        made = FolderBatch(studies, output, sys.executable, queries=queries, settings=settings)
        made.start()
        return made

    code, lines = finished(make())
    assert code == 0 and lines
    with (output / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    (studies / "broken.png").write_bytes(b"none")
    code, _ = finished(make())
    assert code == batch.EXIT_SOME_FAILED
    done = (output / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    assert len([line for line in done if "lesion" in json.dumps(json.loads(line))]) >= 1


@pytest.mark.skipif(sys.platform == "win32", reason="the interpreter is a shell script")
def test_a_folder_is_asked_with_the_environment_of_the_local_service(tmp_path):
    python = tmp_path / "PythonSlicer"
    python.write_text("#!/bin/sh\necho models in $HF_HUB_CACHE; sleep 1\n", encoding="utf-8")
    python.chmod(0o755)
    connection = Connection(environment={HUB_CACHE_VARIABLE: str(tmp_path / "hub")})
    made = FolderBatch(
        tmp_path,
        tmp_path / "out",
        str(python),
        query="?",
        environment=connection.environment,
    )
    made.start()
    code, lines = finished(made)
    assert code == 0 and lines == [f"models in {tmp_path / 'hub'}"]


def test_a_batch_that_cannot_be_done_says_why(tmp_path):
    made = FolderBatch(tmp_path / "missing", tmp_path / "out", sys.executable, query="?")
    made.start()
    with pytest.raises(Sim4SegError, match=r"did not finish: .*missing"):
        finished(made)


def test_a_cancelled_batch_leaves_no_process(studies, tmp_path):
    made = FolderBatch(studies, tmp_path / "out", sys.executable, query="?")
    made.start()
    made.cancel()
    assert made.is_over
    made.cancel()
    assert isinstance(made._process.returncode, int)
    assert Path(studies).is_dir()
