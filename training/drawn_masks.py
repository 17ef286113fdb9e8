"""Masks that a model drew for images whose mask is unknown, as files beside a list of them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from Sim4SegCore.errors import Sim4SegError

LIST_FILE = "drawn.jsonl"


@dataclass(frozen=True)
class DrawnMask:
    """One line of the list.

    Attributes:
        id: of the record.
        mask: file relative to the list's folder.
        expected_dice: by the model that drew it.
    """

    id: str
    mask: str
    expected_dice: float

    @property
    def line(self) -> str:
        """As it is written."""
        return json.dumps(asdict(self)) + "\n"


def read_drawn_masks(folder: Path) -> dict[str, str]:
    """Absolute path of each record's mask by the record's id.

    Raises:
        Sim4SegError: if the list is missing or damaged, naming the line.
    """
    path = folder / LIST_FILE
    if not path.is_file():
        raise Sim4SegError(f"no {LIST_FILE} in {folder}; `run.py draw` writes it")
    masks = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            drawn = DrawnMask(**json.loads(line))
        except (json.JSONDecodeError, TypeError) as error:
            raise Sim4SegError(f"{path}:{number} is no drawn mask: {error}") from None
        masks[drawn.id] = str(folder.resolve() / drawn.mask)
    return masks
