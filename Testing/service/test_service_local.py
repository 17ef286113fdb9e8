"""The service as a child process: start, token, restart, and an end with its parent."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from fakes import FakePredictor, picture, scan

from Sim4SegCore import cli
from Sim4SegCore.service import LocalService, Options
from Sim4SegCore.service.transport import ServiceError

ROOT = Path(__file__).resolve().parents[2]
SLOW = Path(__file__).with_name("slow_service.py")


class FakeLocalService(LocalService):
    """A LocalService whose child has the fake predictor."""

    seconds = 0.02

    def _command(self):
        return [sys.executable, str(SLOW), str(self.seconds), str(self.log_file)]


@pytest.fixture
def service(tmp_path):
    local = FakeLocalService(tmp_path / "service.log")
    yield local
    local.stop()


def is_gone(pid, seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_the_token_is_in_no_command_line_environment_or_log(service):
    url, token = service.endpoint()
    process = psutil.Process(service.pid)
    assert url.startswith("http://127.0.0.1:")
    assert len(token) >= 32
    assert token not in " ".join(process.cmdline())
    assert token not in json.dumps(process.environ())
    with service.client() as client:
        client.ask(picture(), "?")
    assert token not in service.log_file.read_text()


def test_stopping_ends_the_process_and_leaves_no_files(service, tmp_path):
    service._environment["TMPDIR"] = str(tmp_path)
    service.endpoint()
    pid = service.pid
    assert list(tmp_path.glob("sim4seg-uploads-*"))
    began = time.monotonic()
    service.stop()
    assert time.monotonic() - began < 30
    assert is_gone(pid, 0.5)
    assert not list(tmp_path.glob("sim4seg-uploads-*"))


def test_a_plain_kill_leaves_no_files(service, tmp_path):
    service._environment["TMPDIR"] = str(tmp_path)
    with service.client() as client:
        image = client.prepare(scan())
        body = {"hash": image.hash, "description": dataclasses.asdict(image.description)}
        client._transport.request("POST", "/v1/uploads", json=body)
        assert list(tmp_path.glob("sim4seg-uploads-*/*.part"))
        pid = service.pid
        os.kill(pid, signal.SIGTERM)
        assert is_gone(pid, 20.0)
    assert not list(tmp_path.glob("sim4seg-uploads-*"))


@pytest.mark.slow
def test_a_killed_service_is_restarted_and_the_query_answered(service):
    service.seconds = 1.0
    with service.client() as client:
        client.ask(picture(), "Warm?")
        first = service.pid
        killer = threading.Timer(0.4, os.kill, (first, signal.SIGKILL))
        killer.start()
        answer = client.ask(picture(), "After all?", progress=lambda step: None)
        assert answer.document["query"] == "After all?"
        assert service.pid not in (None, first)


@pytest.mark.slow
def test_killed_while_it_looks_at_a_volume_it_is_sent_and_asked_again(service):
    service.seconds = 1.0
    killed = []

    def kill_once(step):
        if step.stage == "mask" and not killed:
            killed.append(service.pid)
            os.kill(service.pid, signal.SIGKILL)

    volume = scan()
    expected = FakePredictor().segment_volume(volume, "All of it?")
    with service.client() as client:
        answer = client.ask(volume, "All of it?", Options(mode="slices"), kill_once)
    assert killed and service.pid not in (None, *killed)
    assert np.array_equal(answer.masks[0], expected.mask)


@pytest.mark.slow
def test_killed_at_many_moments_nothing_is_lost_or_mixed_up(service):
    service.seconds = 0.05
    stop = threading.Event()

    def kill():
        for delay in (0.11, 0.53):
            if stop.wait(delay):
                return
            if (pid := service.pid) is not None:
                os.kill(pid, signal.SIGKILL)
            stop.wait(2.5)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with service.client() as client:
            for number in range(30):
                case = picture(number)
                expected = FakePredictor()
                expected.set_image(case)
                answer = client.ask(case, f"Query {number}")
                assert answer.document["reasoning"] == expected.ask(f"Query {number}").reasoning
    finally:
        stop.set()
        killer.join()


def test_a_service_that_ends_at_once_is_given_up_with_its_last_words(service, tmp_path):
    service._command = lambda: [sys.executable, "-c", "raise SystemExit('no such module')"]
    for _ in range(4):
        with pytest.raises(ServiceError, match="no such module"):
            service.endpoint()
    with pytest.raises(ServiceError, match="4 times within a minute"):
        service.endpoint()


PARENT = """
import sys, time
sys.path[:0] = {paths!r}
from pathlib import Path
from test_service_local import FakeLocalService
service = FakeLocalService(Path(sys.argv[1]))
service.endpoint()
print(service.pid, flush=True)
{ending}
"""


@pytest.mark.parametrize(
    "ending", ["time.sleep(60)", "import os; os._exit(3)", "import os; os.abort()"]
)
def test_the_service_goes_when_its_parent_goes_however_it_goes(ending, tmp_path):
    paths = [str(ROOT), str(SLOW.parent)]
    code = PARENT.format(paths=paths, ending=ending)
    command = [sys.executable, "-c", code, str(tmp_path / "service.log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        child = int(parent.stdout.readline())
        assert psutil.pid_exists(child)
        parent.kill()
        parent.wait()
    assert is_gone(child, 2.0)


@pytest.mark.slow
def test_a_killed_client_leaves_a_service_that_answers(service):
    service.seconds = 0.5
    url, token = service.endpoint()
    code = (
        f"import sys; sys.path[:0] = {[str(ROOT), str(SLOW.parent)]!r}\n"
        "from fakes import picture\n"
        "from Sim4SegCore.service import Client\n"
        "client = Client(sys.argv[1], sys.stdin.readline().strip())\n"
        "print('asking', flush=True)\n"
        "while True: client.ask(picture(), 'Again?', progress=lambda step: None)\n"
    )
    for delay in (0.05, 0.6):
        with subprocess.Popen(
            [sys.executable, "-c", code, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            process.stdin.write(f"{token}\n".encode())
            process.stdin.flush()
            process.stdout.readline()
            time.sleep(delay)
            process.kill()
    began = time.monotonic()
    with service.client() as client:
        assert client.ask(picture(1), "Mine?").document["query"] == "Mine?"
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_serve_prints_address_and_token_and_ends_when_told_to(end, tmp_path):
    command = [sys.executable, "-m", "Sim4SegCore.cli", "serve", "--device", "cpu"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as process:
        address = process.stdout.readline().split()
        token = process.stdout.readline().split()
        assert list(tmp_path.glob("sim4seg-uploads-*"))
        process.send_signal(end)
        process.communicate(timeout=60)
    assert address[0] == "Address" and address[1].startswith("http://127.0.0.1:")
    assert token[0] == "Token" and len(token[1]) >= 32
    assert process.returncode in (0, 130, -end)
    assert not list(tmp_path.glob("sim4seg-uploads-*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "TLS"),
        (["--certificate", "none.pem"], "both"),
        (["--certificate", "none.pem", "--key", "none.pem"], "none.pem"),
        (["--tokens", "none.json"], "tokens"),
        (["--port", "70000"], "port"),
        (["--device", "cpu", "--device", "cpu"], "once"),
    ],
)
def test_mistakes_end_with_one_line(arguments, message, capsys):
    assert cli.main(["serve", *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert message in lines[0]


def test_client_and_local_service_need_neither_torch_nor_fastapi():
    code = (
        "import sys\n"
        "from Sim4SegCore.service import Client, LocalService, ServiceError\n"
        "print(sorted({'torch', 'fastapi', 'pydantic', 'uvicorn'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, cwd=ROOT, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_the_embedded_model_answers_as_in_the_direct_call(embedded, tmp_path):
    from Sim4SegCore import Case
    from Sim4SegCore.examples import draw_phantom

    case = Case(draw_phantom()[0])
    query = "Is there a skin lesion? Segment it and tell me what it is."
    expected = embedded.segment(case, query)
    stages = set()
    with (
        LocalService(tmp_path / "log", ["--device", "cpu"]) as service,
        service.client() as client,
    ):
        answer = client.ask(
            case,
            query,
            Options(similarity="float32"),
            progress=lambda step: stages.add(step.stage),
        )
    assert np.array_equal(answer.masks[0][0], expected.mask)
    assert answer.document["reasoning"] == expected.reasoning
    assert answer.document["diagnosis"]["label"] == expected.diagnosis.label
    assert np.allclose(answer.similarity[0], expected.similarity, atol=1e-3)
    assert stages & {"load", "encode", "answer", "mask"}
