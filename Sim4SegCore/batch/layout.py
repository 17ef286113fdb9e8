"""Where things lie in the output folder, and who may write there.

    results/STUDY/QUERY/        what `output.save_result` writes, and thumbnail.png
    results.csv .parquet        the table; timings.csv beside it
    contact_sheet_001.png       …
    plan.json manifest.jsonl    what is to be done, and what was; enough to resume

Parts of a cohort share the folder; their own files have the part in their names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import Sim4SegError
from ..io import explain_os_error, quoted
from ..output import check_output_folder
from .parts import Part

RESULTS_FOLDER = "results"
THUMBNAIL_FILE = "thumbnail.png"
_PLAN_NAME = re.compile(r"plan(?:\.part-(\d+)-of-(\d+))?\.json")


@dataclass(frozen=True)
class Layout:
    """Names in one output folder for one part."""

    out: Path
    part: Part = field(default_factory=Part)

    @property
    def plan(self) -> Path:
        """What is to be done."""
        return self.out / f"plan{self.part.suffix}.json"

    @property
    def manifest(self) -> Path:
        """What was done."""
        return self.out / f"manifest{self.part.suffix}.jsonl"

    @property
    def lock(self) -> Path:
        """Held while a process writes for this part."""
        return self.out / f".sim4seg-batch{self.part.suffix}.lock"

    def table(self, suffix: str) -> Path:
        """The table as `.csv` or `.parquet`."""
        return self.out / f"results{self.part.suffix}{suffix}"

    @property
    def timings(self) -> Path:
        """Seconds of each answer; not in the table, which is the same for every run."""
        return self.out / f"timings{self.part.suffix}.csv"

    def page(self, number: int) -> Path:
        """A page of the contact sheet, from 1."""
        return self.out / f"contact_sheet{self.part.suffix}_{number:03d}.png"

    def finished_files(self) -> list[Path]:
        """What stands at the end of a batch, if it does."""
        pages = sorted(self.out.glob(f"contact_sheet{self.part.suffix}_*.png"))
        tables = [self.table(".csv"), self.table(".parquet"), self.timings]
        return [path for path in tables if path.exists()] + pages


def parts_in(out: Path) -> list[Part]:
    """The parts that have a plan in a folder, in order."""
    found = [_PLAN_NAME.fullmatch(path.name) for path in out.glob("plan*.json")]
    parts = [Part(int(m[1] or 0), int(m[2] or 1)) for m in found if m is not None]
    return sorted(parts, key=lambda part: (part.count, part.index))


def prepare(layout: Layout, overwrite: bool) -> None:
    """Create the output folder, or make sure that it is that of a batch with these parts.

    Raises:
        Sim4SegError: if it holds other files and `overwrite` is False, if it is divided
            otherwise, or cannot be written.
    """
    check_output_folder(layout.out, overwrite=True)
    try:
        layout.out.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in layout.out.iterdir()}
    except OSError as error:
        raise explain_os_error(error, layout.out, "write") from None
    is_ours = any(name.startswith(("plan.", ".sim4seg-batch")) for name in names)
    if names and not is_ours and not overwrite:
        raise Sim4SegError(
            f"the output folder {quoted(layout.out)} is not empty and no batch was started in it; "
            "choose another one or use --overwrite"
        )
    for part in parts_in(layout.out):
        if part.count != layout.part.count:
            divided = "undivided" if part.is_whole else f"divided into {part.count} parts"
            raise Sim4SegError(
                f"{quoted(layout.out)} holds a batch that is {divided}; "
                "choose another output folder"
            )


@contextmanager
def locked(layout: Layout) -> Iterator[None]:
    """Keep other processes out; the system lets go of the lock when the process dies.

    Raises:
        Sim4SegError: if another process is writing.
    """
    try:
        with FileLock(layout.lock, timeout=0):
            yield
    except Timeout:
        raise Sim4SegError(
            f"another batch is writing into {quoted(layout.out)}; wait for its end or stop it"
        ) from None
