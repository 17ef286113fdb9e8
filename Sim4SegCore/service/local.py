"""The service as a private child process: started, watched, restarted, ended with its parent.

with LocalService() as service, service.client() as client:
    client.ask(case, "Is there a skin lesion? Segment it.")
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from .client import Client
from .transport import Endpoint, ServiceError, own_problem

START_S = 60.0
STOP_S = 3.0
MAX_STARTS = 4
STARTS_WITHIN_S = 60.0
TAIL_CHARACTERS = 2000
NO_MESSAGE = "it left no message"


class LocalService:
    """Owns one service process on the loopback interface; methods may be called from any thread.

    The token goes to the child through a pipe, which also tells the child, by ending, that its
    parent is gone.
    """

    def __init__(
        self,
        log_file: Path | None = None,
        arguments: Sequence[str] = (),
        python: str | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        """
        Args:
            log_file: the service's rotating log; None is a private file in the temporary folder.
                What crashes print lies beside it, with the suffix `.stderr`.
            arguments: further arguments of `sim4seg serve`, such as `--device cpu`.
            python: the interpreter; None is this one (in Slicer, `PythonSlicer`).
            environment: added to this process's own.
        """
        self._log_file = log_file
        self._arguments = list(arguments)
        self._python = python or sys.executable
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._endpoint: Endpoint | None = None
        self._starts: collections.deque[float] = collections.deque(maxlen=MAX_STARTS)
        self._lock = threading.Lock()

    def __enter__(self) -> LocalService:
        self.endpoint()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The child's process id, if it runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def log_file(self) -> Path:
        """Where the child logs."""
        if self._log_file is None:
            folder = Path(tempfile.mkdtemp(prefix="sim4seg-log-"))
            self._log_file = folder / "service.log"
        return self._log_file

    def endpoint(self) -> Endpoint:
        """URL and token of the running service, which is started, or restarted, if it is not.

        Raises:
            ServiceError: if it does not start, or ended too often within a minute.
        """
        with self._lock:
            if self._endpoint is None or self.pid is None:
                self._endpoint = self._start()
            return self._endpoint

    def client(self) -> Client:
        """A client that finds the service again after a restart."""
        return Client(endpoint=self.endpoint)

    def stop(self) -> None:
        """End the child; it is killed if it does not go by itself."""
        with self._lock:
            process, self._process, self._endpoint = self._process, None, None
            if process is not None:
                _end(process)

    def _start(self) -> Endpoint:
        """Try again where it ended without a word, as a process that is killed does."""
        while True:
            self._check_starts()
            try:
                return self._start_once()
            except ServiceError:
                if self._tail() != NO_MESSAGE:
                    raise

    def _start_once(self) -> Endpoint:
        if self._process is not None:
            _end(self._process)
        token = secrets.token_urlsafe(32)
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self._stderr_file().open("wb") as stderr:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, **self._environment},
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.write(token.encode() + b"\n")
            self._process.stdin.flush()
        return self._wait_until_ready(self._process), token

    def _command(self) -> list[str]:
        # -P is too new for some interpreters; the package's own place comes first by PYTHONPATH.
        package_home = str(Path(__file__).resolve().parents[2])
        known = os.environ.get("PYTHONPATH")
        self._environment["PYTHONPATH"] = (
            package_home if not known else f"{package_home}{os.pathsep}{known}"
        )
        command = [self._python, "-m", "Sim4SegCore.cli", "serve", "--child"]
        return [*command, "--log", str(self.log_file), *self._arguments]

    def _check_starts(self) -> None:
        now = time.monotonic()
        if len(self._starts) == MAX_STARTS and now - self._starts[0] < STARTS_WITHIN_S:
            raise own_problem(
                "keeps_ending",
                f"The local service ended {MAX_STARTS} times within a minute: {self._tail()}",
                f"Look into {self.log_file}.",
            )
        self._starts.append(now)

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> str:
        lines: list[bytes] = []

        def read() -> None:
            assert process.stdout is not None
            lines.append(process.stdout.readline())

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        reader.join(START_S)
        try:
            return str(json.loads(lines[0])["url"])
        except (IndexError, ValueError, KeyError):
            _end(process)
            raise own_problem(
                "not_started",
                f"The local service did not start: {self._tail()}",
                f"Look into {self.log_file}.",
            ) from None

    def _stderr_file(self) -> Path:
        return self.log_file.with_name(self.log_file.name + ".stderr")

    def _tail(self) -> str:
        """The last words of the child."""
        with contextlib.suppress(OSError):
            text = self._stderr_file().read_text(encoding="utf-8", errors="replace")
            lines = [line.strip() for line in text[-TAIL_CHARACTERS:].splitlines() if line.strip()]
            if lines:
                return lines[-1]
        return NO_MESSAGE


def _end(process: subprocess.Popen[bytes]) -> None:
    """Close the pipe, which asks it to go; kill it if it does not."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
