"""BUSI: breast ultrasound (Al-Dhabyani et al., Data in Brief 2020).

    Dataset_BUSI_with_GT/benign/benign (1).png, benign (1)_mask.png, benign (1)_mask_1.png
    Dataset_BUSI_with_GT/malignant/..., normal/...

Several masks of one image are several masses and are united. Patients are not named, so every
image is its own group; the set is known to hold near-copies, which the duplicate check removes
where they would stand in two splits.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..masks import MaskFile, MaskSpec
from ..registry import register
from ..source import RawCase, Skipped, Source, images_in

DIAGNOSES = ("benign", "malignant", "normal")


@register
class Busi(Source):
    """See the module."""

    kind = "BUSI"
    modality = "ultrasound"
    body_part = "breast"
    licence = "CC BY 4.0"
    marker = "benign"
    download = "Cairo University, Dataset_BUSI_with_GT"

    def cases(self) -> Iterator[RawCase | Skipped]:
        """Images of the three folders."""
        for diagnosis in DIAGNOSES:
            files = images_in(self.require(diagnosis))
            for stem, image in files.items():
                if "_mask" in stem:
                    continue
                masks: tuple[MaskSpec, ...] = tuple(
                    MaskFile(path)
                    for name, path in files.items()
                    if name == f"{stem}_mask" or name.startswith(f"{stem}_mask_")
                )
                if diagnosis != "normal" and not masks:
                    yield Skipped(image.name, "no mask file")
                    continue
                yield RawCase(
                    id=stem,
                    image=image,
                    findings={} if diagnosis == "normal" else {"breast mass": masks},
                    diagnosis=diagnosis,
                    group=f"busi-{stem.replace(' (', '_').rstrip(')')}",
                )
