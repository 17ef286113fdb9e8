"""What does the jobs of a batch: this machine alone (`running`), or a cluster (`on_ray`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from ..case import ModelIdentity
from .manifest import Manifest, Outcome
from .plan import Job


class Engine(Protocol):
    """Turns jobs into results in their places and outcomes in the manifest."""

    @property
    def identity(self) -> ModelIdentity:
        """Which weights answer."""

    def run(
        self,
        jobs: Sequence[Job],
        out: Path,
        manifest: Manifest,
        progress: Callable[[Outcome], None],
    ) -> None:
        """Do all jobs; what one study does wrong is its outcome and stops no other.

        Args:
            out: must exist; the part's lock is held.
            progress: called, perhaps from another thread, after each outcome is in the manifest.

        Raises:
            Sim4SegError: if results cannot be written any more.
            KeyboardInterrupt: after the result that is being written is in the manifest.
        """
