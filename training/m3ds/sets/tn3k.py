"""TN3K: thyroid nodules in ultrasound (Gong et al., ISBI 2021).

    trainval-image/0000.jpg, trainval-mask/0000.jpg, test-image, test-mask
    label4trainval.csv, label4test.csv   0000.jpg,1   (no header; 0 benign, 1 malignant)
    tn3k-trainval-fold0.json             {"train": [numbers], "val": [numbers]}   optional

The label tables come with a later release of the same images; without them the diagnosis is
unknown. The download does not say which images are of one patient, so every image is its own
group and only the duplicate check stands between the splits. The licence is the one of a public
mirror (MIT) and could not be verified with the authors.
"""

from __future__ import annotations

from collections.abc import Iterator

from Sim4SegCore.errors import Sim4SegError

from ..masks import MaskFile
from ..registry import register
from ..source import RawCase, Skipped, Source, Split, images_in
from ..tables import read_json, read_pairs

DIAGNOSES = {"0": "benign", "1": "malignant"}


@register
class Tn3k(Source):
    """See the module."""

    kind = "TN3K"
    modality = "ultrasound"
    body_part = "thyroid"
    licence = "MIT per mirror, not verified"
    marker = "trainval-image"
    download = "TRFE-Net repository, 'Thyroid Dataset/tn3k'"

    def cases(self) -> Iterator[RawCase | Skipped]:
        """Images of both parts."""
        folds = self._folds()
        for part in ("trainval", "test"):
            masks = images_in(self.require(f"{part}-mask"))
            table = self.root / f"label4{part}.csv"
            labels = read_pairs(table) if table.is_file() else None
            for stem, image in images_in(self.require(f"{part}-image")).items():
                label = "" if labels is None else labels.get(image.name, "none")
                if stem not in masks:
                    yield Skipped(image.name, "no mask file")
                elif labels is not None and label not in DIAGNOSES:
                    yield Skipped(image.name, f"unknown label '{label}' (known: 0, 1)")
                else:
                    yield RawCase(
                        id=f"{part}_{stem}",
                        image=image,
                        findings={"thyroid nodule": (MaskFile(masks[stem]),)},
                        diagnosis=DIAGNOSES.get(label),
                        group=f"tn3k-{part}_{stem}",
                        split="test" if part == "test" else folds.get(stem),
                    )

    def _folds(self) -> dict[str, Split]:
        path = self.root / "tn3k-trainval-fold0.json"
        if not path.is_file():
            return {}
        fold = read_json(path)
        splits: tuple[Split, ...] = ("train", "val")
        try:
            return {f"{int(number):04d}": split for split in splits for number in fold[split]}
        except (KeyError, TypeError, ValueError):
            raise Sim4SegError(f"{path} does not list numbers under 'train' and 'val'") from None
