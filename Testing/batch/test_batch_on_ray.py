"""A cluster ends with the same table as one machine, whatever is killed meanwhile."""

import argparse
import importlib.util
import json
import socket
import sys

import psutil
import pytest
from batch_deadly_predictor import LoadDeadly
from batch_fake_predictor import FakePredictor
from batch_helpers import draw, draw_volume, read_table, write_dicom
from pydicom.uid import generate_uid
from test_batch_interruption import QUERY, start, wait_for_lines

from Sim4SegCore.batch.command import add_batch_arguments, run_batch_command
from Sim4SegCore.errors import Sim4SegError

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed"
)
SLICES = ["--slice", "1", "--samples", "4"]
RAY_PROCESSES = ("raylet", "gcs_server", "ray::")


@pytest.fixture(scope="module")
def cluster():
    """Two workers on this machine, for all tests of this file."""
    from Sim4SegCore.ray_cluster import connected

    with connected("local", cores=2):
        yield "local"
    assert ray_processes(psutil.Process()) == []


def ray_processes(parent):
    return [
        child
        for child in parent.children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE
        and any(name in " ".join(child.cmdline()[:1]) for name in RAY_PROCESSES)
    ]


def run_on(cluster, cohort, out, marker, *more):
    parser = argparse.ArgumentParser()
    add_batch_arguments(parser)
    options = [str(cohort), "--query", QUERY, "-o", str(out), "--ray", cluster, "--workers", "2"]
    return run_batch_command(
        parser.parse_args([*options, *more]),
        LoadDeadly(marker),
        identify_model=lambda model: FakePredictor().identity,
    )


@needs_ray
@pytest.mark.slow
def test_a_killed_batch_goes_on_and_a_killed_worker_is_replaced(tmp_path, batch, request):
    cohort, out = tmp_path / "cohort", tmp_path / "out"
    for number in range(10):
        draw(cohort / f"{number}.png", number)
    draw(cohort / "once.png", 10)
    (cohort / "broken.png").write_bytes(b"broken")
    batch(cohort, "--query", QUERY, out=tmp_path / "undisturbed")

    process = start(cohort, out, "--ray", "local", "--workers", "2", seconds="0.3")
    wait_for_lines(out, 2, process)
    started = ray_processes(psutil.Process(process.pid))
    process.kill()
    said = process.communicate()
    assert started, said
    assert psutil.wait_procs(started, timeout=60)[1] == []
    before = (out / "manifest.jsonl").read_bytes().count(b"\n")
    assert 2 <= before < 12

    cluster = request.getfixturevalue("cluster")
    assert run_on(cluster, cohort, out, tmp_path / "marker") == 3
    for name in ("results.csv", "results.parquet", "contact_sheet_001.png"):
        if (tmp_path / "undisturbed" / name).exists():
            assert (out / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()
    studies = [json.loads(line)["study"] for line in (out / "manifest.jsonl").open()]
    assert len(studies) == len(set(studies)) == 12
    assert list(out.glob("results/*/.*")) == []


@needs_ray
@pytest.mark.slow
def test_a_study_that_kills_whoever_takes_it_fails_alone(cluster, tmp_path):
    cohort = tmp_path / "cohort"
    for number, name in enumerate(["a.png", "deadly.png", "z.png"]):
        draw(cohort / name, number)
    assert run_on(cluster, cohort, tmp_path / "out", tmp_path / "marker") == 3
    table = {row["id"]: row for row in read_table(tmp_path / "out")}
    assert [table[name]["status"] for name in table] == ["done", "failed", "done"]
    assert "memory" in table["deadly.png"]["reason"]


@needs_ray
@pytest.mark.slow
def test_volumes_and_numbers_of_masks_reach_the_cluster(cluster, batch, tmp_path):
    cohort, uid = tmp_path / "cohort", generate_uid()
    draw_volume(cohort / "a.nii.gz", 0)
    draw(cohort / "b.png", 1)
    for place in range(3):
        write_dicom(cohort / f"{place}/slice", uid, place)
    for name, more, code in (("volumes", ["--mode", "slices"], 3), ("slices", SLICES, 0)):
        here, there = tmp_path / f"{name}-here", tmp_path / f"{name}-there"
        assert batch(cohort, "--query", QUERY, *more, out=here)[0] == code
        assert run_on(cluster, cohort, there, tmp_path / "marker", *more) == code
        for file in ("results.csv", "contact_sheet_001.png"):
            assert (there / file).read_bytes() == (here / file).read_bytes()
    folder = there / read_table(there)[0]["folder"]
    assert len(json.loads((folder / "result.json").read_text())["samples"]["answers"]) == 4


@needs_ray
@pytest.mark.slow
def test_more_workers_than_there_is_room_for_are_refused(cluster, cohort, batch):
    with pytest.raises(Sim4SegError, match="room for 2 workers"):
        batch(cohort, "--query", QUERY, "--ray", cluster, "--workers", "99")


def test_without_ray_it_says_what_to_install(cohort, batch, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(Sim4SegError, match=r"sim4seg\[ray\]"):
        batch(cohort, "--query", QUERY, "--ray", "local")


@needs_ray
def test_a_cluster_that_is_not_there_is_said_at_once(cohort, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(Sim4SegError, match="no Ray cluster answers"):
            run_on(address, cohort, tmp_path / "out", tmp_path / "marker")


@needs_ray
@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--workers", "2"], "--ray"),
        (["--ray", "local", "--workers", "0"], "1 or more"),
        (["--ray", "local", "--device", "cuda:1"], "Ray's choice"),
    ],
)
def test_options_that_do_not_fit_are_refused(cohort, batch, more, said):
    with pytest.raises(Sim4SegError, match=said):
        batch(cohort, "--query", QUERY, *more)
