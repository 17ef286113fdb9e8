"""PH2: dermoscopy of nevi and melanomas (Mendonça et al., EMBC 2013).

    PH2 Dataset images/IMD002/IMD002_Dermoscopic_Image/IMD002.bmp
                             /IMD002_lesion/IMD002_lesion.bmp
    PH2_dataset.txt   || IMD002 || histological diagnosis || 1 || ...
                      the third field: 0 common nevus, 1 atypical nevus, 2 melanoma

PH2_dataset.txt was checked against descriptions of it, not against the file itself. The
spreadsheet of the same name is not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from Sim4SegCore.errors import Sim4SegError

from ..masks import MaskFile
from ..registry import register
from ..source import RawCase, Skipped, Source

DIAGNOSES = {"0": "common nevus", "1": "atypical nevus", "2": "melanoma"}


@register
class Ph2(Source):
    """See the module."""

    kind = "PH2"
    modality = "dermoscopy"
    body_part = "skin"
    licence = "research and education only"
    marker = "PH2_dataset.txt"
    download = "University of Porto, ADDI project"

    def cases(self) -> Iterator[RawCase | Skipped]:
        """Rows of PH2_dataset.txt."""
        images = self.require("PH2 Dataset images")
        for case, label in _labels(self.require("PH2_dataset.txt")).items():
            folder = images / case
            if label not in DIAGNOSES:
                yield Skipped(case, f"unknown label '{label}' (known: 0, 1, 2)")
                continue
            yield RawCase(
                id=case,
                image=folder / f"{case}_Dermoscopic_Image" / f"{case}.bmp",
                findings={"skin lesion": (MaskFile(folder / f"{case}_lesion/{case}_lesion.bmp"),)},
                diagnosis=DIAGNOSES[label],
                group=case,
            )


def _labels(path: Path) -> dict[str, str]:
    labels = {}
    for line in path.read_text(encoding="latin-1").splitlines():
        fields = [field.strip() for field in line.split("||")]
        if len(fields) > 3 and fields[1].startswith("IMD"):
            labels[fields[1]] = fields[3]
    if not labels:
        raise Sim4SegError(f"{path} has no rows of the form '|| IMD002 || … || 1 ||'")
    return labels
