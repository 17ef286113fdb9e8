"""A service in a process of its own with the fake predictor: SECONDS LOG."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fakes import FakePredictor

from Sim4SegCore.commands.serve import _first_line
from Sim4SegCore.service.config import ServiceConfig
from Sim4SegCore.service.security import TokenBook
from Sim4SegCore.service.server import ready_line, serve

if __name__ == "__main__":
    seconds = float(sys.argv[1])
    serve(
        ServiceConfig(log_file=Path(sys.argv[2])),
        TokenBook({"parent": (_first_line(), "admin")}),
        lambda url: print(ready_line(url), flush=True),
        parent_pipe=0,
        load=lambda source, device: FakePredictor(seconds=seconds, steps=20),
    )
