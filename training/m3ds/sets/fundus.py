"""Retinal vessels in fundus photographs: FIVES, HRF, DRIVE, CHASE_DB1.

FIVES       train/Original/1_A.png, train/Ground truth/1_A.png, test/...
            the letter is the diagnosis: AMD, diabetic retinopathy, glaucoma, normal
HRF         images/01_h.jpg, images/01_dr.JPG, manual1/01_h.tif
DRIVE       training/images/21_training.tif, training/1st_manual/21_manual1.gif
            test/images/01_test.tif, test/1st_manual/01_manual1.gif   (masks not in every copy)
CHASE_DB1   Image_01L.jpg, Image_01L_1stHO.png   (28 images of both eyes of 14 children)

The first observer's masks are taken. Only CHASE_DB1 says which images are of one patient.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..masks import MaskFile
from ..registry import register
from ..source import RawCase, Skipped, Source, Split, images_in


class Fundus(Source):
    """Common to the four sets."""

    modality = "fundus photograph"
    body_part = "retina"

    def _case(
        self,
        case: str,
        image: Path,
        mask: Path | None,
        diagnosis: str | None,
        group: str,
        split: Split | None = None,
    ) -> RawCase | Skipped:
        if mask is None:
            return Skipped(image.name, "no mask file")
        vessels = {"retinal vessels": (MaskFile(mask),)}
        return RawCase(case, image, vessels, diagnosis, group, split)


@register
class Fives(Fundus):
    """FIVES (Jin et al., Scientific Data 2022); the same numbers occur in training and test."""

    kind = "FIVES"
    licence = "CC BY 4.0"
    marker = "train/Original"
    download = "figshare, doi 10.6084/m9.figshare.19688169"
    diagnoses = {  # noqa: RUF012
        "A": "age-related macular degeneration",
        "D": "diabetic retinopathy",
        "G": "glaucoma",
        "N": "healthy",
    }

    def cases(self) -> Iterator[RawCase | Skipped]:
        """Images of both parts."""
        parts: dict[str, Split | None] = {"train": None, "test": "test"}
        for part, split in parts.items():
            masks = images_in(self.require(f"{part}/Ground truth"))
            for stem, image in images_in(self.require(f"{part}/Original")).items():
                diagnosis = self.diagnoses.get(stem.rpartition("_")[2])
                if diagnosis is None:
                    yield Skipped(image.name, "unknown label: no A, D, G or N in the name")
                    continue
                case = f"{part}_{stem}"
                yield self._case(case, image, masks.get(stem), diagnosis, f"fives-{case}", split)


@register
class Hrf(Fundus):
    """HRF (Budai et al., 2013)."""

    kind = "HRF"
    licence = "CC BY 4.0"
    marker = "manual1"
    download = "Erlangen, High-Resolution Fundus Image Database"
    diagnoses = {"h": "healthy", "dr": "diabetic retinopathy", "g": "glaucoma"}  # noqa: RUF012

    def cases(self) -> Iterator[RawCase | Skipped]:
        """Images with the mask of the same name."""
        masks = images_in(self.require("manual1"))
        for stem, image in images_in(self.require("images")).items():
            diagnosis = self.diagnoses.get(stem.rpartition("_")[2].lower())
            if diagnosis is None:
                yield Skipped(image.name, "unknown label: no h, dr or g in the name")
            else:
                yield self._case(stem, image, masks.get(stem), diagnosis, f"hrf-{stem}")


@register
class Drive(Fundus):
    """DRIVE (Staal et al., 2004); its test part is the test split where it has masks."""

    kind = "DRIVE"
    licence = "research only"
    marker = "training/images"
    download = "drive.grand-challenge.org"

    def cases(self) -> Iterator[RawCase | Skipped]:
        """Images named by their number."""
        parts: dict[str, Split | None] = {"training": None, "test": "test"}
        for part, split in parts.items():
            folder = self.root / part / "1st_manual"
            if part == "test" and not folder.is_dir():
                continue
            masks = images_in(self.require(f"{part}/1st_manual"))
            for stem, image in images_in(self.require(f"{part}/images")).items():
                number = stem.partition("_")[0]
                mask = masks.get(f"{number}_manual1")
                yield self._case(number, image, mask, None, f"drive-{number}", split)


@register
class ChaseDb1(Fundus):
    """CHASE_DB1 (Fraz et al., 2012); both eyes of a child are one group."""

    kind = "CHASE_DB1"
    licence = "CC BY 4.0"
    marker = "Image_01L.jpg"
    download = "Kingston University, CHASE_DB1"

    def cases(self) -> Iterator[RawCase | Skipped]:
        """The photographs among the files."""
        files = images_in(self.root)
        for stem, image in files.items():
            if not stem.endswith("HO"):
                yield self._case(
                    stem, image, files.get(f"{stem}_1stHO"), None, f"chase-{stem.rstrip('LR')}"
                )
