"""The review's HTTP interface."""

import io
import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from Sim4SegCore.errors import Sim4SegError
from training.cot.accepted import read_accepted
from training.cot.attempts import read_attempts
from training.cot.loading import SubjectLoader
from training.cot.review.app import create_app
from training.cot.review.store import ReviewStore
from training.records import read_records
from training.run import main

ROOT = Path(__file__).resolve().parents[3]
TOKEN = "a-token"
PATIENCE_S = 20


@pytest.fixture
def folder(made_up_data, tmp_path):
    """A finished run over the six validation records."""
    output = tmp_path / "cot"
    assert main(["cot", f"data={made_up_data}", f"output={output}", "split=val"]) == 0
    return output


@pytest.fixture
def open_store(made_up_data, folder):
    opened = []

    def make():
        for store in opened:
            store.close()
        data = made_up_data / "m3ds"
        records = read_records(data, "val")
        opened.append(ReviewStore(folder, records, SubjectLoader(data, records)))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


@pytest.fixture
def client(open_store):
    return TestClient(create_app(open_store(), TOKEN), base_url="http://127.0.0.1")


def url(path):
    return f"/{TOKEN}/api/{path}"


def answer_of(client, number):
    return client.get(url(f"items/{number}")).json()["answer"]


def lines(folder):
    path = folder / "reviews.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def decide(client, number, decision, reason="", **changed):
    body = {"decision": decision, "reason": reason, "answer": answer_of(client, number) | changed}
    return client.post(url(f"items/{number}/review"), json=body)


@pytest.mark.parametrize(
    "path", ["/", "/wrong/", "/wrong/api/queue", f"/x{TOKEN}/", "/static/review.js"]
)
def test_nothing_is_shown_without_the_token(client, path):
    reply = client.get(path)
    assert reply.status_code == 403
    assert "run.py review" in reply.text


def test_another_sites_name_for_this_machine_is_refused(client):
    reply = client.get(f"/{TOKEN}/", headers={"Host": "evil.example"})
    assert reply.status_code == 400


def test_the_page_needs_nothing_from_elsewhere(client):
    page = client.get(f"/{TOKEN}/")
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    for name in ("review.js", "review.css", "icon.svg"):
        part = client.get(f"/{TOKEN}/static/{name}")
        assert part.status_code == 200
        assert "https://" not in part.text


def test_an_answer_is_shown_with_image_mask_and_facts(client, folder):
    attempts = read_attempts(folder)
    queue = client.get(url("queue")).json()
    assert [entry["query"] for entry in queue] == [attempt.query for attempt in attempts]
    item = client.get(url("items/0")).json()
    assert item["targets"][0]["present"]
    assert any("percent of the image" in fact for fact in item["targets"][0]["facts"])
    image = Image.open(io.BytesIO(client.get(url("items/0/image.png")).content))
    layer = Image.open(io.BytesIO(client.get(url("items/0/overlay.png")).content))
    assert image.size == layer.size == (64, 48)
    alpha = np.asarray(layer)[..., 3]
    assert 0 < (alpha > 0).mean() < 0.5
    assert client.get(url("items/9999")).status_code == 404


def test_decisions_are_appended_and_the_last_one_holds(client, folder):
    assert decide(client, 0, "accept").status_code == 200
    assert decide(client, 1, "reject", "wrong side").status_code == 200
    assert decide(client, 0, "reject", "no, after all").status_code == 200
    assert [line["decision"] for line in lines(folder)] == ["accept", "reject", "reject"]
    queue = client.get(url("queue")).json()
    assert [entry["decision"] for entry in queue[:3]] == ["reject", "reject", None]
    assert client.get(url("items/1")).json()["review"]["reason"] == "wrong side"


def test_an_edit_keeps_the_original(client, folder):
    original = answer_of(client, 0)
    assert decide(client, 0, "edit", analysis="the skin lesion\nis visible.").status_code == 200
    (line,) = lines(folder)
    assert line["original"] == original
    assert line["answer"] == original | {"analysis": "the skin lesion is visible"}
    item = client.get(url("items/0")).json()
    assert (item["answer"], item["original"]) == (line["answer"], original)
    assert read_attempts(folder)[0].answer.analysis == original["analysis"]
    (first, *_) = read_accepted(folder, reviewed_only=True)[line["id"]]
    assert first.answer.analysis == "the skin lesion is visible"


@pytest.mark.parametrize(
    ("decision", "changed", "message"),
    [
        ("reject", {}, "needs a reason"),
        ("edit", {}, "nothing was changed"),
        ("edit", {"analysis": " . "}, "'analysis' is empty"),
        ("maybe", {}, "unknown decision"),
    ],
)
def test_incomplete_decisions_are_refused_and_not_written(
    client, folder, decision, changed, message
):
    reply = decide(client, 0, decision, **changed)
    assert reply.status_code == 422
    assert message in reply.json()["detail"]
    assert lines(folder) == []


def test_an_edit_is_checked_against_the_mask(client):
    right = answer_of(client, 0)
    assert client.post(url("items/0/check"), json=right).json() == {"accepted": True, "reasons": []}
    wrong = right | {"analysis": "the skin lesion covers about 90 percent of the image"}
    checked = client.post(url("items/0/check"), json=wrong).json()
    assert "percent of the skin lesion" in checked["reasons"][0]


def test_decisions_outlive_the_server(client, open_store, folder):
    decide(client, 2, "accept")
    again = TestClient(create_app(open_store(), TOKEN), base_url="http://127.0.0.1")
    assert again.get(url("queue")).json()[2]["decision"] == "accept"
    decide(again, 3, "accept")
    assert len(lines(folder)) == 2


def test_rejected_answers_are_written_anew_and_come_back(client, open_store, folder, made_up_data):
    before = answer_of(client, 0)
    decide(client, 0, "reject", "say it differently")
    open_store().close()
    assert main(["cot", f"data={made_up_data}", f"output={folder}", "split=val"]) == 0
    again = TestClient(create_app(open_store(), TOKEN), base_url="http://127.0.0.1")
    item = again.get(url("items/0")).json()
    assert (item["round"], item["review"]) == (2, None)
    assert item["answer"] != before


def test_runs_that_do_not_fit_are_refused(folder, made_up_data, tmp_path, capsys):
    assert main(["review", f"data={made_up_data}", f"output={tmp_path / 'none'}"]) == 2
    assert "make it with run.py cot" in capsys.readouterr().err
    assert main(["review", f"data={made_up_data}", f"output={folder}", "split=train"]) == 2
    assert "which the data does not have" in capsys.readouterr().err


def test_two_reviews_of_one_run_are_refused(open_store, made_up_data, folder):
    open_store()
    data = made_up_data / "m3ds"
    records = read_records(data, "val")
    with pytest.raises(Sim4SegError, match="another process"):
        ReviewStore(folder, records, SubjectLoader(data, records))


def test_the_command_answers_as_soon_as_it_tells_its_address(made_up_data, folder):
    command = [
        sys.executable, "training/run.py", "review", f"data={made_up_data}",
        f"output={folder}", "split=val",
    ]  # fmt: skip
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        address = server.stdout.readline().strip()
        with urllib.request.urlopen(address, timeout=PATIENCE_S) as page:
            assert b"<html" in page.read()
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(PATIENCE_S)
