"""Models on this computer: imported from zip files, removed again; errands; devices."""

import json
import os
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from services import ManualTicker
from Sim4SegLib import devices
from Sim4SegLib.connection import Connection, ServiceSettings
from Sim4SegLib.errands import Errands
from Sim4SegLib.model_store import HUB_CACHE_VARIABLE, ModelStore

from Sim4SegCore.errors import Sim4SegError

ROOT = Path(__file__).resolve().parents[2]
CONFIG = json.dumps({"lvlm": {}, "segmenter": {}})
LIMIT_S = 60.0


def weights(payload=b"\x00" * 8):
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    return struct.pack("<Q", len(header)) + header + payload


def packed(path, files, top="tuned/"):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(top + name, data)
    return path


GOOD = {"config.json": CONFIG, "model.safetensors": weights(), "lvlm/tokenizer.json": "{}"}


@pytest.fixture
def store(tmp_path):
    return ModelStore(tmp_path / "Einstellungen für Sim4Seg")


@pytest.mark.parametrize("top", ["", "tuned/", "a/tuned/"])
def test_a_zip_file_becomes_a_model_folder(store, tmp_path, top):
    heard = []
    folder = store.import_zip(packed(tmp_path / "tuned.zip", GOOD, top), heard.append)
    assert folder.name == "tuned"
    for name in GOOD:
        assert (folder / name).is_file()
    assert heard[-1] == 1.0 and heard == sorted(heard)
    assert store.names() == ["tuned"]
    assert store.size() == sum(len(data) for data in GOOD.values())
    again = store.import_zip(tmp_path / "tuned.zip")
    assert again.name == "tuned_2" and (folder / "config.json").is_file()


def test_the_embedded_checkpoint_can_be_passed_on_as_a_zip_file(store, tmp_path):
    from Sim4SegCore.modeling.checkpoint import load_model

    path = tmp_path / "passed on.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in (ROOT / "Resources" / "checkpoint").rglob("*.*"):
            archive.write(file, Path("model") / file.relative_to(ROOT / "Resources/checkpoint"))
    assert load_model(store.import_zip(path)).config.segmenter is not None


BAD = {
    "no zip": (b"this is none", "no complete zip"),
    "nothing in it": ({"readme.txt": "hello"}, "holds no checkpoint"),
    "weights elsewhere": (
        {"config.json": CONFIG, "other/model.safetensors": weights()},
        "holds no checkpoint",
    ),
    "another config": ({**GOOD, "config.json": "[1, 2"}, "not that of a Sim4Seg"),
    "half weights": ({**GOOD, "model.safetensors": weights(b"\x00" * 3)}, "damaged"),
    "no header": ({**GOOD, "model.safetensors": b"\xff" * 40}, "damaged"),
    "pickles": ({**GOOD, "lvlm/pytorch_model.bin": b"x"}, "pickles"),
    "a way out": ({**GOOD, "../../evil.json": "{}"}, "lead out"),
    "a drive": ({**GOOD, "C:/evil.json": "{}"}, "lead out"),
}


@pytest.mark.parametrize(("files", "reason"), BAD.values(), ids=list(BAD))
def test_what_is_no_checkpoint_is_refused_and_leaves_nothing(store, tmp_path, files, reason):
    path = tmp_path / "bad.zip"
    if isinstance(files, bytes):
        path.write_bytes(files)
    else:
        packed(path, files, top="")
    before = set(tmp_path.rglob("*"))
    with pytest.raises(Sim4SegError, match=reason):
        store.import_zip(path)
    assert store.names() == [] and store.size() == 0
    assert {each for each in set(tmp_path.rglob("*")) - before if each.is_file()} == set()


def test_links_in_a_zip_file_are_refused(store, tmp_path):
    path = packed(tmp_path / "linked.zip", GOOD)
    with zipfile.ZipFile(path, "a") as archive:
        entry = zipfile.ZipInfo("tuned/secret.json")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(Sim4SegError, match="lead out"):
        store.import_zip(path)


def test_a_damaged_zip_file_is_refused(store, tmp_path):
    path = packed(tmp_path / "cut.zip", {**GOOD, "big.json": os.urandom(5000).hex()})
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(Sim4SegError):
        store.import_zip(path)
    assert store.names() == []


def test_an_import_that_is_ended_leaves_nothing(store, tmp_path):
    def end(fraction):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.import_zip(packed(tmp_path / "tuned.zip", GOOD), end)
    assert store.names() == [] and store.size() == 0


def test_clearing_removes_imported_and_downloaded_models(store, tmp_path):
    store.import_zip(packed(tmp_path / "tuned.zip", GOOD))
    (store.hub_cache / "models--somebody--model").mkdir(parents=True)
    (store.hub_cache / "models--somebody--model" / "blob").write_bytes(b"12345")
    assert store.size() > 5
    store.clear()
    assert store.size() == 0 and store.names() == []
    store.clear()


def test_the_service_downloads_into_the_folder_that_is_cleared(store, monkeypatch):
    started = []

    class Service:
        def __init__(self, arguments, python, environment):
            started.append(environment)

    monkeypatch.setattr("Sim4SegCore.service.local.LocalService", Service)
    connection = Connection(environment={HUB_CACHE_VARIABLE: str(store.hub_cache)})
    connection.client(ServiceSettings(device="cpu"))
    code = "from huggingface_hub import constants; print(constants.HF_HUB_CACHE)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **started[0]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(store.hub_cache)


def test_errands_come_back_on_the_main_thread_with_a_result_or_a_sentence():
    ticker = ManualTicker()
    errands = Errands(ticker)
    heard = []

    def refuse():
        raise Sim4SegError("no; try it later")

    def break_down():
        raise ZeroDivisionError

    errands.start("a", lambda: 5, heard.append, heard.append)
    errands.start("b", refuse, heard.append, heard.append)
    errands.start("c", break_down, heard.append, heard.append)
    until = time.monotonic() + LIMIT_S
    while any(errands.is_running(kind) for kind in "abc"):
        assert time.monotonic() < until
        ticker.callback()
    assert heard[0] == 5
    assert "no; try it later" in heard and "unexpectedly" in str(heard)
    assert ticker.callback is None


def test_graphics_cards_are_named_with_their_free_memory(monkeypatch, tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho '0, NVIDIA RTX A4000, 12288, 16376'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert devices.describe_devices() == "cuda:0: NVIDIA RTX A4000, 12.0 of 16 GB free"
    program.write_text("#!/bin/sh\nexit 9\n")
    assert "does not answer" in devices.describe_devices()
    monkeypatch.setenv("PATH", "")
    assert devices.describe_devices() == devices.NO_CARD
