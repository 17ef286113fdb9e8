"""Fractures in YOLO layout: the paper's BF and BFD.

    data.yaml                         names: [...]
    train/images/*.jpg, train/labels/*.txt   and the same for valid and test

BFD is the "bone fracture detection" export with six sites of the upper limb. Augmented copies
share the part of their name before `.rf.`, which is the group. What the paper calls BF could not
be identified with certainty: any export of this layout with one class for fracture is accepted,
and its body part and licence have to be checked against where it was downloaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from Sim4SegCore.errors import Sim4SegError

from ..masks import CaseError, Polygon
from ..registry import register
from ..source import RawCase, Skipped, Source, Split, images_in
from ..yolo import read_class_names, read_labels

FOLDERS: dict[str, Split] = {"train": "train", "valid": "val", "val": "val", "test": "test"}


class YoloFractures(Source):
    """Common to both sets.

    Attributes:
        diagnoses: class name in lower case -> diagnosis.
    """

    marker = "data.yaml"
    modality = "X-ray"
    diagnoses: ClassVar[dict[str, str]]

    def cases(self) -> Iterator[RawCase | Skipped]:
        """Images of every split's folder."""
        names = self._diagnoses()
        self.require("train/images")
        for folder, split in FOLDERS.items():
            if (self.root / folder / "images").is_dir():
                labels = self.require(f"{folder}/labels")
                for stem, image in images_in(self.root / folder / "images").items():
                    yield self._case(stem, image, labels / f"{stem}.txt", names, split)

    def _diagnoses(self) -> dict[int, str]:
        path = self.require("data.yaml")
        names = read_class_names(path)
        for name in names.values():
            if name.lower() not in self.diagnoses:
                raise Sim4SegError(
                    f"{self.name}: unknown label '{name}' in {path}; known are "
                    f"{', '.join(self.diagnoses)}. A plugin with a subclass of "
                    f"{type(self).__name__} can add it"
                )
        return {number: self.diagnoses[name.lower()] for number, name in names.items()}

    def _case(
        self, stem: str, image: Path, labels: Path, names: dict[int, str], split: Split
    ) -> RawCase | Skipped:
        try:
            outlines = read_labels(labels)
        except CaseError as error:
            return Skipped(image.name, str(error))
        if any(number not in names for number, _ in outlines):
            return Skipped(image.name, "unknown label: a class number that data.yaml lacks")
        return RawCase(
            id=stem,
            image=image,
            findings={"fracture": tuple(outline for _, outline in outlines)} if outlines else {},
            diagnosis=_largest(outlines, names) if outlines else "no fracture",
            group=stem.split(".rf.")[0],
            split=split,
            attributes={"polygons": "coarse"},
        )


def _largest(outlines: list[tuple[int, Polygon]], names: dict[int, str]) -> str:
    number, _ = max(outlines, key=lambda labelled: labelled[1].area)
    return names[number]


@register
class BoneFractureDetection(YoloFractures):
    """BFD; the diagnosis is the site, where several are broken the one with the largest outline."""

    kind = "BoneFractureDetection"
    body_part = "upper limb"
    licence = "CC BY 4.0"
    download = "'Bone Fracture Detection: Computer Vision Project', YOLO export"
    diagnoses: ClassVar[dict[str, str]] = {
        "elbow positive": "elbow fracture",
        "fingers positive": "finger fracture",
        "forearm fracture": "forearm fracture",
        "humerus fracture": "humerus fracture",
        "humerus": "humerus fracture",
        "shoulder fracture": "shoulder fracture",
        "wrist positive": "wrist fracture",
    }


@register
class BoneFracture(YoloFractures):
    """BF; see the module for what is not certain."""

    kind = "BF"
    body_part = "limb"
    licence = "not verified"
    download = "a bone fracture set as YOLO segmentation export"
    diagnoses: ClassVar[dict[str, str]] = dict.fromkeys(
        ("fracture", "fractured", "bone fracture", "bone-fracture", "fractures", "broken"),
        "fracture",
    )
