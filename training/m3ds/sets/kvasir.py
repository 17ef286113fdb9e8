"""Kvasir-SEG: polyps in colonoscopy (Jha et al., MMM 2020).

    images/cju0qkwl35piu0993l0dewei2.jpg, masks/cju0qkwl35piu0993l0dewei2.jpg

Every image shows a polyp; patients are not named, so every image is its own group.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..masks import MaskFile
from ..registry import register
from ..source import RawCase, Skipped, Source, images_in


@register
class KvasirSeg(Source):
    """See the module."""

    kind = "Kvasir-SEG"
    modality = "endoscopy"
    body_part = "colon"
    licence = "research and education only"
    marker = "images"
    download = "Simula, datasets.simula.no/kvasir-seg"

    def cases(self) -> Iterator[RawCase | Skipped]:
        """Images with the mask of the same name."""
        masks = images_in(self.require("masks"))
        for stem, image in images_in(self.require("images")).items():
            if stem not in masks:
                yield Skipped(image.name, "no mask file")
                continue
            yield RawCase(
                id=stem,
                image=image,
                findings={"polyp": (MaskFile(masks[stem]),)},
                diagnosis="polyp",
                group=f"kv-{stem}",
            )
