"""The endpoint client against a real HTTP server on the loopback interface."""

import base64
import email.utils
import io
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from made_up import completion
from PIL import Image

from Sim4SegCore.errors import Sim4SegError
from training.cot.chat import Prompt
from training.cot.config import AssistantConfig
from training.cot.costs import CostBook
from training.cot.endpoint import EndpointChat, RateLimit, ReplyCache, is_loopback

PROMPT = Prompt("a role", "a question", np.full((30, 60, 3), 7, np.uint8))
KEY = "sk-very-secret"


@pytest.fixture
def waits():
    return []


@pytest.fixture
def make_chat(server, tmp_path, waits):
    books = []

    def make(limit=0.0, **changes):
        for book in books:
            book.close()
        config = AssistantConfig(kind="endpoint", url=server.url, model="m", requests_per_minute=0)
        costs = CostBook(tmp_path / "calls.jsonl", limit)
        books.append(costs)
        cache = ReplyCache(tmp_path / "cache")
        return EndpointChat(replace(config, **changes), cache, costs, waits.append)

    yield make
    for book in books:
        book.close()


@pytest.fixture
def costs_of(tmp_path):
    def read():
        return (tmp_path / "calls.jsonl").read_text().count("\n")

    return read


def test_a_request_carries_role_question_picture_and_key(make_chat, server, monkeypatch):
    monkeypatch.setenv("SIM4SEG_COT_KEY", KEY)
    assert make_chat(image_side=30).reply(PROMPT) == "yes"
    path, headers, body = server.seen[0]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {KEY}"
    system, user = body["messages"]
    assert (system["content"], user["content"][0]["text"]) == ("a role", "a question")
    kind, _, data = user["content"][1]["image_url"]["url"].partition(",")
    assert kind == "data:image/png;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (30, 15)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_passing_failures_are_tried_again_after_the_asked_time(make_chat, server, waits, status):
    server.script = [(status, {"Retry-After": "7"}, "busy"), completion("at last")]
    assert make_chat().reply(PROMPT) == "at last"
    assert waits == [7.0]


def test_retry_after_may_be_a_date(make_chat, server, waits):
    when = email.utils.formatdate(time.time() + 30, usegmt=True)
    server.script = [(429, {"Retry-After": when}, "")]
    make_chat().reply(PROMPT)
    assert 25 < waits[0] < 31


def test_without_a_wish_the_waits_grow(make_chat, server, waits):
    server.script = [(500, {}, "")] * 4
    make_chat().reply(PROMPT)
    assert len(waits) == 4
    assert all(later > 1.3 * earlier for earlier, later in pairwise(waits))


@pytest.mark.parametrize(
    "nonsense",
    ["<html>", {}, {"choices": []}, {"choices": [{"message": {"content": None}}]}, [1], "null"],
)
def test_nonsense_is_asked_again_then_told_in_one_line(make_chat, server, nonsense):
    server.script = [(200, {}, nonsense), completion("sense")]
    assert make_chat().reply(PROMPT) == "sense"
    server.answer = lambda body: (200, {}, nonsense)
    with pytest.raises(
        Sim4SegError, match="in 3 attempts: the reply is no chat completion"
    ) as told:
        make_chat(attempts=3).reply(replace(PROMPT, text="another"))
    assert "\n" not in str(told.value)


def test_the_cache_makes_no_second_call_even_after_a_restart(make_chat, server, costs_of):
    assert make_chat().reply(PROMPT) == make_chat().reply(PROMPT) == "yes"
    assert (len(server.seen), costs_of()) == (1, 1)
    make_chat().reply(replace(PROMPT, text="another question"))
    make_chat(temperature=0.1).reply(PROMPT)
    make_chat().reply(replace(PROMPT, picture=PROMPT.picture + 1))
    assert (len(server.seen), costs_of()) == (4, 4)


def test_a_broken_cache_file_is_asked_again(make_chat, server, tmp_path):
    make_chat().reply(PROMPT)
    (kept,) = (tmp_path / "cache").rglob("*.json")
    kept.write_text('{"reply": "y')
    assert make_chat().reply(PROMPT) == "yes"
    assert len(server.seen) == 2


def test_costs_are_counted_over_restarts_and_limited(make_chat, server, tmp_path):
    prices = {"prompt_price": 2.0, "completion_price": 10.0}
    make_chat(**prices).reply(PROMPT)
    chat = make_chat(limit=0.008, **prices)
    chat.reply(replace(PROMPT, text="two"))
    with pytest.raises(Sim4SegError, match=r"have cost 0\.01, the limit is 0\.01"):
        chat.reply(replace(PROMPT, text="three"))
    assert len(server.seen) == 2
    # What is in the cache stays free.
    assert chat.reply(PROMPT) == "yes"
    make_chat()  # closes the book of the chat before
    # 2 x (1000 x 2 + 200 x 10) / 1e6
    lines = (tmp_path / "calls.jsonl").read_text().splitlines()
    assert len(lines) == 2
    assert all('"cost": 0.004' in line for line in lines)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_one_message_without_the_key(make_chat, server, monkeypatch, status):
    monkeypatch.setenv("MY_KEY", KEY)
    server.script = [(status, {}, f"bad key {KEY}")]
    with pytest.raises(Sim4SegError, match=r"refuses the key.*MY_KEY") as told:
        make_chat(key_variable="MY_KEY").reply(PROMPT)
    assert KEY not in str(told.value)
    assert len(server.seen) == 1


def test_other_refusals_show_the_servers_words_but_never_the_key(make_chat, server, monkeypatch):
    monkeypatch.setenv("SIM4SEG_COT_KEY", KEY)
    server.script = [(404, {}, f"no model m\nfor {KEY}")]
    with pytest.raises(Sim4SegError, match=r"status 404: no model m for \*\*\*$"):
        make_chat().reply(PROMPT)


def test_the_key_is_in_no_file_of_the_run(make_chat, tmp_path, monkeypatch):
    monkeypatch.setenv("SIM4SEG_COT_KEY", KEY)
    make_chat().reply(PROMPT)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 2
    assert not any(KEY in path.read_text() for path in files)


def test_a_server_that_is_down_is_one_message(make_chat, server, waits):
    with pytest.raises(Sim4SegError, match=r"nobody answers at this address.*run the same command"):
        make_chat(url="http://127.0.0.1:9/v1", attempts=3).reply(PROMPT)
    assert len(waits) == 2


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com/v1",
        "http://10.0.0.7:8000/v1",
        "http://127.0.0.1.example.com/v1",
        "http://localhost@example.com/v1",
        "http://0.0.0.0:8000/v1",
    ],
)
def test_images_do_not_leave_the_machine_without_leave(make_chat, url):
    assert not is_loopback(url)
    with pytest.raises(Sim4SegError, match=r"another machine.*allow_upload: true"):
        make_chat(url=url)
    make_chat(url=url, allow_upload=True)


@pytest.mark.parametrize(
    "url", ["http://localhost:1/v1", "http://[::1]:1/v1", "http://127.8.8.8/v1"]
)
def test_loopback_needs_no_leave(make_chat, url):
    make_chat(url=url)


def test_redirects_are_not_followed(make_chat, server):
    server.script = [(307, {"Location": "http://127.0.0.1:9/v1/chat/completions"}, "")]
    with pytest.raises(Sim4SegError, match="status 307"):
        make_chat().reply(PROMPT)


def test_proxies_of_the_environment_do_not_see_what_is_local(make_chat, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert make_chat().reply(PROMPT) == "yes"


@pytest.mark.parametrize("url", ["", "not an address", "ftp://127.0.0.1/v1"])
def test_addresses_that_are_none(make_chat, url):
    with pytest.raises(Sim4SegError, match=r"no address|needs both url and model"):
        make_chat(url=url)


def test_the_rate_limit_spreads_calls():
    waits = []
    limit = RateLimit(60, waits.append)
    for _ in range(4):
        limit.wait()
    assert waits == pytest.approx([1, 2, 3], abs=0.05)
