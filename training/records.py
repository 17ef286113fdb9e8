"""M3DS records: one JSON object a line, images and masks beside it."""

from __future__ import annotations

import dataclasses
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from Sim4SegCore.errors import Sim4SegError

from .drawn_masks import read_drawn_masks
from .targets import ABSENT_TARGETS, IMPLIED_TARGETS, NORMAL_STRUCTURES, UNNAMED_TARGET

NORMAL_DIAGNOSES = frozenset({"normal", "no fracture", "no tumor", "no finding"})
"""Diagnoses that say the set's target is not there."""


@dataclass(frozen=True)
class Record:
    """One image and what is known of it.

    Attributes:
        masks: target -> mask file relative to the data folder; None if the mask is unknown.
        asked: the target that the record's main question is about.
        is_drawn: its masks were drawn by a model, see `drawn_masks`.
    """

    id: str
    dataset: str
    image: str
    masks: dict[str, str] | None
    modality: str
    body_part: str
    diagnosis: str | None
    group: str
    licence: str
    is_drawn: bool = False

    @property
    def asked(self) -> str:
        return IMPLIED_TARGETS.get(self.dataset, UNNAMED_TARGET)

    def is_present(self, target: str) -> bool:
        """Whether the target is in the image; an unknown mask follows the diagnosis."""
        if self.masks is None:
            return target == self.asked and self.diagnosis not in NORMAL_DIAGNOSES
        return target in self.masks

    @property
    def cluster(self) -> str:
        """What is resampled as one: the patient or source image, unique over sets."""
        return f"{self.dataset}/{self.group or self.id}"

    @property
    def questions(self) -> tuple[str, ...]:
        """Targets to ask for when this record is evaluated: each finding, else the set's own."""
        return tuple(self.masks) if self.masks else (self.asked,)


def data_folder(argument: str | None = None) -> Path:
    """The folder that holds `m3ds/`: the argument, else SIM4SEG_DATA, else ../shared.

    Raises:
        Sim4SegError: if there is no `m3ds` in it.
    """
    root = Path(__file__).resolve().parent.parent
    folder = Path(argument or os.environ.get("SIM4SEG_DATA") or root / "../shared").resolve()
    if not (folder / "m3ds").is_dir():
        raise Sim4SegError(
            f"no m3ds folder in {folder}; set SIM4SEG_DATA to the folder that has it"
        )
    return folder / "m3ds"


def read_records(folder: Path, split: str) -> list[Record]:
    """All records of a split.

    Raises:
        Sim4SegError: if the split is missing or empty, or a field is missing, naming the line.
    """
    path = folder / f"{split}.jsonl"
    if not path.is_file():
        raise Sim4SegError(f"no {split}.jsonl in {folder}")
    with path.open(encoding="utf-8") as lines:
        found = [
            _parse(line, f"{path.name}:{n}") for n, line in enumerate(lines, 1) if line.strip()
        ]
    if not found:
        raise Sim4SegError(f"{path} has no records; build the dataset again")
    return found


def read_training_records(
    folder: Path, more_data: Sequence[str] = (), drawn_masks: str | None = None
) -> list[Record]:
    """The training split of a data folder, of further ones, and masks that a model drew.

    Args:
        folder: holds `train.jsonl`; the paths of its records are relative to it.
        more_data: data folders, each with `m3ds/` in it; the paths of theirs become absolute.
        drawn_masks: folder that `run.py draw` wrote; None leaves unknown masks unknown.

    Raises:
        Sim4SegError: if one of them is missing, or two records have one id.
    """
    records = read_records(folder, "train")
    for name in more_data:
        place = data_folder(name)
        records += [_absolute(record, place) for record in read_records(place, "train")]
    repeated = [name for name, count in Counter(r.id for r in records).items() if count > 1]
    if repeated:
        raise Sim4SegError(f"two training records are called {repeated[0]}; leave one set out")
    drawn = {} if drawn_masks is None else read_drawn_masks(Path(drawn_masks))
    return [
        dataclasses.replace(record, masks={record.asked: drawn[record.id]}, is_drawn=True)
        if record.masks is None and record.id in drawn
        else record
        for record in records
    ]


def _absolute(record: Record, folder: Path) -> Record:
    masks = record.masks and {name: str(folder / file) for name, file in record.masks.items()}
    return dataclasses.replace(record, image=str(folder / record.image), masks=masks)


def annotated_targets(records: Iterable[Record]) -> dict[str, frozenset[str]]:
    """What each set has masks of in any record, by set."""
    targets: dict[str, set[str]] = defaultdict(set)
    for record in records:
        targets[record.dataset].update(record.masks or ())
    return {name: frozenset(found) for name, found in targets.items()}


def known_targets(record: Record, annotated: frozenset[str]) -> set[str]:
    """Targets of which a record with masks says whether its image shows them.

    In a set of several targets, what was not drawn in an image is absent, but for what every body
    has.

    Args:
        annotated: what the record's set has masks of, see `annotated_targets`.
    """
    known = {*record.questions, *ABSENT_TARGETS.get(record.dataset, ())}
    return known | (annotated - NORMAL_STRUCTURES) if len(annotated) > 1 else known


def thin_out(records: Sequence[Record], every: int) -> list[Record]:
    """Every n-th record of each set, its first always, in the same order."""
    seen: Counter[str] = Counter()
    kept = []
    for record in records:
        if seen[record.dataset] % every == 0:
            kept.append(record)
        seen[record.dataset] += 1
    return kept


def select_sets(records: Sequence[Record], names: Sequence[str] | None) -> list[Record]:
    """The records of some sets; None is all.

    Raises:
        Sim4SegError: if a set has no records here, naming those that have.
    """
    there = {record.dataset for record in records}
    for name in names or ():
        if name not in there:
            raise Sim4SegError(
                f"the split has no records of {name}; it has {', '.join(sorted(there))}"
            )
    return [record for record in records if names is None or record.dataset in names]


def _parse(line: str, where: str) -> Record:
    try:
        fields: dict[str, Any] = json.loads(line)
        findings = fields["findings"]
        return Record(
            id=fields["id"],
            dataset=fields["dataset"],
            image=fields["image"],
            masks=None if findings is None else {f["target"]: f["mask"] for f in findings},
            modality=fields["modality"],
            body_part=fields["body_part"],
            diagnosis=fields["diagnosis"],
            group=fields["group"],
            licence=fields["licence"],
        )
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise Sim4SegError(f"{where} is no M3DS record: {error!r}") from None
