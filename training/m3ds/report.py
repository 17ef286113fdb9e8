"""What a build found and left out."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from Sim4SegCore.errors import Sim4SegError

from .convert import Built
from .source import SPLITS, Skipped, Split

DUPLICATE = "near-duplicate of an image in another split"


@dataclass
class Report:
    """Filled while building.

    Attributes:
        built: records in the order of sets and cases.
        skipped: unusable cases by set.
        left_out: usable cases that would leak from one split to another, by set.
        missing: sets whose folders were not there.
    """

    built: list[Built] = field(default_factory=list)
    skipped: dict[str, list[Skipped]] = field(default_factory=dict)
    left_out: dict[str, list[Skipped]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def of_split(self, split: Split) -> list[Built]:
        """Records of one split."""
        return [item for item in self.built if item.record["split"] == split]

    def check_skipped(self, dataset: str, cases: int, limit: float) -> None:
        """Give up when so much of a set is unusable that the download itself must be wrong.

        Args:
            cases: all cases that the set lists, usable or not.

        Raises:
            Sim4SegError: if the fraction is above the limit, or nothing is left.
        """
        skipped = self.skipped.get(dataset, [])
        if cases and len(skipped) <= limit * cases and len(skipped) < cases:
            return
        if not cases:
            raise Sim4SegError(f"{dataset}: no images found; is the archive fully unpacked?")
        reasons = Counter(item.reason for item in skipped)
        first = {item.reason: item.case for item in reversed(skipped)}
        listed = "; ".join(
            f"{n} × {reason} (first: {first[reason]})" for reason, n in reasons.most_common(3)
        )
        raise Sim4SegError(
            f"{dataset}: {len(skipped)} of {cases} images cannot be used: {listed}. Unpack the "
            f"download again, or raise max_skipped (now {limit:g}) to go on without them"
        )

    def check_splits(self, wanted: list[Split]) -> None:
        """Every split that was asked for has images.

        Raises:
            Sim4SegError: naming the empty ones.
        """
        empty = [split for split in wanted if not self.of_split(split)]
        if empty:
            raise Sim4SegError(
                f"nothing left for {' and '.join(empty)}: too few patients or sources for the "
                "fractions; change fractions, or add a set"
            )

    def write(self, folder: Path) -> None:
        """The records of each split, and `skipped.csv` with all that is not in them."""
        for split in SPLITS:
            lines = [json.dumps(item.record, ensure_ascii=False) for item in self.of_split(split)]
            (folder / f"{split}.jsonl").write_text("".join(f"{x}\n" for x in lines), "utf-8")
        with (folder / "skipped.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(("set", "case", "reason"))
            for kind in (self.skipped, self.left_out):
                for dataset, items in kind.items():
                    table.writerows((dataset, item.case, item.reason) for item in items)
