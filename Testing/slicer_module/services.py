"""Services for the module's tests: a child process with the fake predictor."""

import sys
from pathlib import Path

from Sim4SegCore.service import LocalService

SLOW = Path(__file__).resolve().parents[1] / "service" / "slow_service.py"


class FakeLocalService(LocalService):
    """Answers after some seconds, marking the pixels above the mean."""

    seconds = 0.02

    def _command(self):
        return [sys.executable, str(SLOW), str(self.seconds), str(self.log_file)]


class ManualTicker:
    """A timer that never fires by itself."""

    callback = None

    def start(self, callback, interval_ms):
        self.callback = callback

    def stop(self):
        self.callback = None
