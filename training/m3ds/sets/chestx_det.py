"""ChestX-Det: thirteen findings outlined in chest X-rays (Lian et al., 2021).

    ChestX_Det_train.json, ChestX_Det_test.json
        [{"file_name": "36199.png", "syms": [...], "boxes": [...], "polygons": [[[x, y], ...]]}]
    train_data/36199.png, test_data/...   (train_data/train_data/ is accepted too)

An image with several kinds of finding is diagnosed by the kind with the largest outlined area;
all are listed in `attributes`. Numbers in the file names are not NIH's patient numbers, so every
image is its own group.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from Sim4SegCore.errors import Sim4SegError

from ..masks import MaskSpec, Polygon
from ..registry import register
from ..source import RawCase, Skipped, Source, Split, images_in
from ..tables import read_json

TARGETS = {
    "Atelectasis": "atelectasis",
    "Calcification": "calcification",
    "Cardiomegaly": "cardiomegaly",
    "Consolidation": "consolidation",
    "Diffuse Nodule": "diffuse nodules",
    "Effusion": "pleural effusion",
    "Emphysema": "emphysema",
    "Fibrosis": "fibrosis",
    "Fracture": "thoracic fracture",
    "Mass": "lung mass",
    "Nodule": "lung nodule",
    "Pleural Thickening": "pleural thickening",
    "Pneumothorax": "pneumothorax",
}
"""`Fracture` is not called fracture: that target is asked of limbs."""

PARTS: dict[str, Split | None] = {"train": None, "test": "test"}


@register
class ChestXDet(Source):
    """See the module."""

    kind = "ChestX-Det"
    modality = "X-ray"
    body_part = "chest"
    licence = "annotations Apache-2.0; images NIH ChestX-ray14 terms"
    marker = "ChestX_Det_train.json"
    download = "Deepwise AI Lab, ChestX-Det-Dataset"

    def cases(self) -> Iterator[RawCase | Skipped]:
        """Entries of both annotation files."""
        for part, split in PARTS.items():
            annotations = self.root / f"ChestX_Det_{part}.json"
            if part == "test" and not annotations.is_file():
                continue
            folder = self.require(f"{part}_data")
            images = images_in(folder) or images_in(folder / f"{part}_data")
            for entry in read_json(annotations):
                yield self._case(entry, images, split, annotations)

    def _case(
        self, entry: dict[str, Any], images: dict[str, Path], split: Split | None, origin: Path
    ) -> RawCase | Skipped:
        try:
            name, symptoms = str(entry["file_name"]), entry["syms"]
            outlines = [Polygon(tuple((x, y) for x, y in p)) for p in entry["polygons"]]
            labelled = list(zip(symptoms, outlines, strict=True))
        except (KeyError, TypeError, ValueError) as error:
            raise Sim4SegError(
                f"{origin} has an entry without file_name, syms or polygons, or with a different "
                f"number of each: {error!r}"
            ) from None
        unknown = sorted(set(symptoms) - set(TARGETS))
        if unknown:
            return Skipped(name, f"unknown label '{unknown[0]}'")
        image = images.get(Path(name).stem)
        if image is None:
            return Skipped(name, f"listed in {origin.name}, but the image is missing")
        findings: dict[str, tuple[MaskSpec, ...]] = {}
        areas: dict[str, float] = {}
        for symptom, outline in labelled:
            target = TARGETS[symptom]
            findings[target] = (*findings.get(target, ()), outline)
            areas[target] = areas.get(target, 0.0) + outline.area
        return RawCase(
            id=image.stem,
            image=image,
            findings=findings,
            diagnosis=max(areas, key=areas.__getitem__) if areas else "no finding",
            group=f"chestxdet-{image.stem}",
            split=split,
            attributes={"findings": sorted(findings)},
        )
