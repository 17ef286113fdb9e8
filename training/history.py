"""Losses of a run: a CSV that continues exactly where the saved state does, and its picture."""

from __future__ import annotations

import csv
from pathlib import Path

from Sim4SegCore.errors import Sim4SegError

HISTORY_FILE = "history.csv"
PLOT_FILE = "losses.png"
SMOOTHING = 50
"""Steps that each point of the picture averages over."""


class History:
    """Rows of step, learning rate and terms; kept in memory and written with the state."""

    def __init__(self, folder: Path, step: int) -> None:
        """Read what a run wrote up to a step; what came later is done again."""
        self.folder = folder
        self.rows: list[dict[str, float]] = []
        path = folder / HISTORY_FILE
        if step and path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
            self.rows = [row for row in rows if row["step"] <= step]

    def add(self, step: int, values: dict[str, float]) -> None:
        """One step's values."""
        self.rows.append({"step": step, **values})

    def write(self) -> None:
        """Write the CSV under a temporary name, then rename.

        Raises:
            Sim4SegError: if the disk is full or read-only.
        """
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        temporary = self.folder / f"{HISTORY_FILE}.partial"
        try:
            with temporary.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, names)
                writer.writeheader()
                writer.writerows(self.rows)
        except OSError as error:
            raise Sim4SegError(f"cannot write {temporary}: {error.strerror}") from None
        temporary.replace(self.folder / HISTORY_FILE)

    def plot(self) -> None:
        """Draw every term, smoothed, into one PNG."""
        from matplotlib.figure import Figure

        names = [n for n in dict.fromkeys(k for r in self.rows for k in r) if n != "step"]
        columns = 4
        lines = -(-len(names) // columns)
        figure = Figure(figsize=(3 * columns, 2.2 * lines), layout="constrained")
        for axes, name in zip(figure.subplots(lines, columns).flat, names, strict=False):
            points = [(row["step"], row[name]) for row in self.rows if name in row]
            axes.plot(*_smooth(points), linewidth=1.2)
            axes.set_title(name, fontsize=9)
            axes.tick_params(labelsize=7)
        for axes in figure.axes[len(names) :]:
            axes.remove()
        figure.supxlabel("step", fontsize=9)
        figure.savefig(self.folder / PLOT_FILE, dpi=110)


def _smooth(points: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    width = max(1, min(SMOOTHING, len(points) // 20))
    steps, values = [], []
    for start in range(0, len(points) - width + 1, width):
        part = points[start : start + width]
        steps.append(sum(step for step, _ in part) / width)
        values.append(sum(value for _, value in part) / width)
    return steps, values
