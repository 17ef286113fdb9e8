"""COVID-CXR: chest X-rays of pneumonias with lungs, heart and opacities (General Blockchain, 2020).

    images/<Filename>
    masks/*.png        coloured on black, only the bounding box of the target
    structure.csv      Template Name, Filename, Mask, Top, Left, Width, Height, ...
    metadata.csv       patientid, finding, view, filename, license, clinical_notes, ...

The layout was checked against the repository itself. Airways, probes and the kinds of tubes other
than "Tubings" are left out, as many of them have no mask. Left and right are the patient's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from ..masks import CroppedMask, MaskSpec
from ..registry import register
from ..source import RawCase, Skipped, Source, images_in
from ..tables import read_rows

TARGETS = {
    "Left Lung": "left lung",
    "Right Lung": "right lung",
    "Cardiomediastinum": "cardiomediastinum",
    "Ground Glass Opacities": "ground glass opacities",
    "Consolidation": "consolidation",
    "Pleural Effusion": "pleural effusion",
    "Pneumothorax": "pneumothorax",
    "Tubings": "tubings",
}
LEFT_OUT = frozenset(
    {
        "Airways",
        "Monitoring Probes",
        "Endotracheal Tube",
        "Central Venous Line",
        "Chest Tube",
        "Nosogastric Tube",
        "Nasogastric Tube",
    }
)
DIAGNOSES = {
    "COVID-19": "COVID-19 pneumonia",
    "COVID-19, ARDS": "COVID-19 pneumonia with ARDS",
    "No Finding": "no finding",
    "Pneumonia": "pneumonia",
}
UNKNOWN = frozenset(("", "todo", "Unknown"))


@register
class CovidCxr(Source):
    """See the module."""

    kind = "COVID-CXR"
    modality = "X-ray"
    body_part = "chest"
    licence = "masks CC BY 4.0; images mixed, many CC BY-NC-SA"
    marker = "structure.csv"
    download = "GeneralBlockchain, covid-19-chest-xray-segmentations-dataset"

    def cases(self) -> Iterator[RawCase | Skipped]:
        """Images that structure.csv has masks for."""
        images = self.require("images")
        known = {path.name for path in images_in(images).values()}
        metadata = {
            row["filename"]: row
            for row in read_rows(self.require("metadata.csv"), ("filename", "finding", "patientid"))
        }
        for name, rows in self._rows().items():
            unknown = sorted({r["Template Name"] for r in rows} - set(TARGETS) - LEFT_OUT)
            if unknown:
                yield Skipped(name, f"unknown label '{unknown[0]}'")
            elif name not in known:
                yield Skipped(name, "listed in structure.csv, but the image is missing")
            elif name not in metadata:
                yield Skipped(name, "not listed in metadata.csv")
            elif any(_lacks_place(row) for row in rows if row["Template Name"] in TARGETS):
                yield Skipped(name, "no mask file or place of it in structure.csv")
            else:
                yield self._case(name, rows, metadata[name])

    def _rows(self) -> dict[str, list[dict[str, str]]]:
        columns = ("Template Name", "Filename", "Mask", "Top", "Left")
        rows: dict[str, list[dict[str, str]]] = defaultdict(list)
        for row in read_rows(self.require("structure.csv"), columns):
            rows[row["Filename"]].append(row)
        return rows

    def _case(self, name: str, rows: list[dict[str, str]], about: dict[str, str]) -> RawCase:
        findings: dict[str, tuple[MaskSpec, ...]] = {}
        for row in rows:
            target = TARGETS.get(row["Template Name"])
            if target is not None:
                crop = CroppedMask(self.root / row["Mask"], int(row["Top"]), int(row["Left"]))
                findings[target] = (*findings.get(target, ()), crop)
        finding = about["finding"]
        return RawCase(
            id=Path(name).stem,
            image=self.root / "images" / name,
            findings=findings,
            diagnosis=None if finding in UNKNOWN else DIAGNOSES.get(finding, finding),
            group=f"cxr-{about['patientid']}",
            attributes={
                key: about[column]
                for key, column in (("view", "view"), ("clinical_notes", "clinical_notes"))
                if about.get(column)
            },
        )


def _lacks_place(row: dict[str, str]) -> bool:
    return not (row["Mask"] and row["Top"].isdigit() and row["Left"].isdigit())
