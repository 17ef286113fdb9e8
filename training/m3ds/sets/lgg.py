"""LGG: brain MRI slices of lower-grade gliomas (Buda et al., 2019; TCGA).

    kaggle_3m/TCGA_CS_4941_19960909/TCGA_CS_4941_19960909_1.tif, ..._1_mask.tif

The colour channels are the pre-contrast, FLAIR and post-contrast sequences. A slice whose mask is
empty shows no tumor. All slices of a patient are one group.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..masks import MaskFile
from ..registry import register
from ..source import Absent, RawCase, Skipped, Source, images_in


@register
class Lgg(Source):
    """See the module."""

    kind = "LGG"
    modality = "MRI"
    body_part = "brain"
    licence = "CC BY-NC-SA 4.0"
    marker = "kaggle_3m"
    download = "'LGG MRI Segmentation', kaggle_3m"

    def cases(self) -> Iterator[RawCase | Skipped]:
        """Slices of all patients."""
        patients = [p for p in sorted(self.require("kaggle_3m").glob("TCGA_*")) if p.is_dir()]
        for patient in patients:
            files = images_in(patient)
            for stem, image in files.items():
                if stem.endswith("_mask"):
                    continue
                mask = files.get(f"{stem}_mask")
                number = stem.rpartition("_")[2]
                if mask is None or not number.isdigit():
                    yield Skipped(image.name, "no mask file" if number.isdigit() else "odd name")
                    continue
                yield RawCase(
                    id=stem,
                    image=image,
                    findings={"tumor": (MaskFile(mask),)},
                    diagnosis="lower-grade glioma",
                    group=patient.name,
                    if_empty=Absent("no tumor"),
                    attributes={
                        "slice": int(number),
                        "channels": "pre-contrast, FLAIR, post-contrast",
                    },
                )
