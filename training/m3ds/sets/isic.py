"""Dermoscopy of the ISIC archive: the challenges at ISBI 2016 and of 2018.

ISBI 2016, either part 3B (images and masks in one folder) or parts 1 and 3:

    ISBI2016_ISIC_Part3B_Training_Data/ISIC_0000000.jpg, ISIC_0000000_Segmentation.png
    ISBI2016_ISIC_Part3B_Training_GroundTruth.csv      ISIC_0000000,benign   (no header)
    ISBI2016_ISIC_Part3B_Test_Data, ISBI2016_ISIC_Part3B_Test_GroundTruth.csv   (0.0 and 1.0)
    ISBI2016_ISIC_Part1_Training_GroundTruth/ISIC_0000000_Segmentation.png

ISIC 2018, task 1 with the labels that exist for some of its images:

    ISIC2018_Task1-2_Training_Input/ISIC_0000000.jpg   and Validation, Test
    ISIC2018_Task1_Training_GroundTruth/ISIC_0000000_segmentation.png
    *GroundTruth*.csv anywhere   image,MEL,NV,BCC,AKIEC,BKL,DF,VASC   (2018 task 3)
                                 image_id,melanoma,seborrheic_keratosis   (2017 part 3)
    ISIC2018_Task3_Training_Input/ISIC_0024306.jpg   optional, images without masks

The images of tasks 1 and 3 are different ones; most of task 1 gets a diagnosis only from the
2017 table. The archive's number is the group in all sets, so that an image that several
challenges share stays in one split.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from Sim4SegCore.errors import Sim4SegError

from ..masks import MaskFile
from ..registry import register
from ..source import RawCase, Skipped, Source, Split, images_in
from ..tables import read_pairs, read_rows

ISBI_LABELS = {
    "benign": "benign",
    "0": "benign",
    "0.0": "benign",
    "malignant": "malignant",
    "1": "malignant",
    "1.0": "malignant",
}
TASK3_LABELS = {
    "MEL": "melanoma",
    "NV": "melanocytic nevus",
    "BCC": "basal cell carcinoma",
    "AKIEC": "actinic keratosis",
    "BKL": "benign keratosis",
    "DF": "dermatofibroma",
    "VASC": "vascular lesion",
}
ONE = ("1", "1.0")
PARTS_2018: dict[str, Split | None] = {"Training": "train", "Validation": "val", "Test": "test"}


class Isic(Source):
    """Common to both challenges."""

    modality = "dermoscopy"
    body_part = "skin"

    def _case(
        self, image: Path, mask: Path | None, diagnosis: str | None, split: Split | None
    ) -> RawCase:
        return RawCase(
            id=image.stem,
            image=image,
            findings={"skin lesion": (MaskFile(mask),)} if mask else None,
            diagnosis=diagnosis,
            group=f"isic-{image.stem}",
            split=split,
        )


@register
class Isbi2016(Isic):
    """ISBI 2016; benign or malignant as the challenge says, its test part is the test split."""

    kind = "ISBI2016"
    licence = "CC0 1.0"
    marker = "ISBI2016_ISIC_Part3B_Training_GroundTruth.csv"
    download = "ISIC challenge archive, 2016, task 3B"

    def cases(self) -> Iterator[RawCase | Skipped]:
        """Rows of both label tables."""
        parts: dict[str, Split | None] = {"Training": None, "Test": "test"}
        for part, split in parts.items():
            if part == "Test" and not list(self.root.glob("ISBI2016_ISIC_Part3*_Test_Data")):
                continue
            labels = self.require(f"ISBI2016_ISIC_Part3B_{part}_GroundTruth.csv")
            images, masks = self._files(part)
            for name, label in read_pairs(labels).items():
                if name not in images:
                    yield Skipped(name, f"listed in {labels.name}, but the image is missing")
                elif name not in masks:
                    yield Skipped(name, "no mask file")
                elif label.lower() not in ISBI_LABELS:
                    yield Skipped(name, f"unknown label '{label}' (known: benign, malignant)")
                else:
                    diagnosis = ISBI_LABELS[label.lower()]
                    yield self._case(images[name], masks[name], diagnosis, split)

    def _files(self, part: str) -> tuple[dict[str, Path], dict[str, Path]]:
        images: dict[str, Path] = {}
        masks: dict[str, Path] = {}
        for folder in sorted(self.root.glob(f"ISBI2016_ISIC_Part*_{part}_*")):
            inner = folder / folder.name
            for stem, path in images_in(inner if inner.is_dir() else folder).items():
                name, _, kind = stem.rpartition("_")
                if kind.lower() == "segmentation":
                    masks[name] = path
                else:
                    images[stem] = path
        return images, masks


@register
class Isic2018(Isic):
    """ISIC 2018; training, validation and test as the challenge has them."""

    kind = "ISIC2018"
    licence = "CC BY-NC 4.0"
    marker = "ISIC2018_Task1-2_Training_Input"
    download = "ISIC challenge archive, 2018, task 1"

    def cases(self) -> Iterator[RawCase | Skipped]:
        """Images of task 1, then those of task 3 if they are there."""
        labels = self._labels()
        for part, split in PARTS_2018.items():
            folder = self.root / f"ISIC2018_Task1-2_{part}_Input"
            if not folder.is_dir():
                continue
            masks = images_in(self.require(f"ISIC2018_Task1_{part}_GroundTruth"))
            for stem, image in images_in(folder).items():
                mask = masks.get(f"{stem}_segmentation")
                if mask is None:
                    yield Skipped(image.name, "no mask file")
                else:
                    yield self._case(image, mask, labels.get(stem), split)
        for stem, image in images_in(self.root / "ISIC2018_Task3_Training_Input").items():
            if stem in labels:
                yield self._case(image, None, labels[stem], "train")
            else:
                yield Skipped(image.name, "neither mask nor label")

    def _labels(self) -> dict[str, str]:
        labels: dict[str, str] = {}
        for path in sorted(self.root.rglob("*GroundTruth*.csv")):
            for row in read_rows(path, ()):
                name = row.get("image") or row.get("image_id")
                if not name:
                    raise Sim4SegError(f"{path} has no column 'image' or 'image_id'")
                labels[name] = _diagnosis(row, path)
        return labels


def _diagnosis(row: dict[str, str], path: Path) -> str:
    if "MEL" in row:
        chosen = [column for column in TASK3_LABELS if row.get(column) in ONE]
        if len(chosen) == 1:
            return TASK3_LABELS[chosen[0]]
        raise Sim4SegError(f"{path}: {row['image']} must have exactly one label, not {chosen}")
    if "melanoma" in row and "seborrheic_keratosis" in row:
        if row["melanoma"] in ONE:
            return "melanoma"
        return "seborrheic keratosis" if row["seborrheic_keratosis"] in ONE else "melanocytic nevus"
    raise Sim4SegError(f"{path} has unknown label columns: {', '.join(row)}; move it elsewhere")
