"""FracAtlas: X-rays of limbs with fractures outlined (Abedeen et al., Scientific Data 2023).

    images/Fractured/IMG0000019.jpg, images/Non_fractured/IMG0000000.jpg
    Annotations/COCO JSON/COCO_fracture_masks.json
    dataset.csv   image_id,hand,leg,hip,shoulder,mixed,hardware,multiscan,fractured,
                  fracture_count,frontal,lateral,oblique

About 60 of the non-fractured images are truncated in the published archive; they are reported.
The set names no patients, so every image is its own group. Its own split covers the fractured
images only and is not used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from Sim4SegCore.errors import Sim4SegError

from ..masks import MaskSpec, Polygon
from ..registry import register
from ..source import RawCase, Skipped, Source
from ..tables import read_json, read_rows

REGIONS = ("hand", "leg", "hip", "shoulder")
VIEWS = ("frontal", "lateral", "oblique")
COLUMNS = ("image_id", *REGIONS, "hardware", "fractured", "fracture_count", *VIEWS)


@register
class FracAtlas(Source):
    """See the module."""

    kind = "FracAtlas"
    modality = "X-ray"
    body_part = "limb"
    licence = "CC BY 4.0"
    marker = "dataset.csv"
    download = "figshare, doi 10.6084/m9.figshare.22363012"

    def cases(self) -> Iterator[RawCase | Skipped]:
        """Rows of dataset.csv."""
        images = self.require("images")
        outlines = self._outlines()
        for row in read_rows(self.require("dataset.csv"), COLUMNS):
            name = row["image_id"]
            if row["fractured"] not in ("0", "1"):
                yield Skipped(name, "unknown label in column 'fractured' (known: 0, 1)")
                continue
            fractured, count = row["fractured"] == "1", row["fracture_count"]
            if fractured and name not in outlines:
                yield Skipped(name, "called fractured, but without an outline")
                continue
            regions = [region for region in REGIONS if row[region] == "1"]
            yield RawCase(
                id=Path(name).stem,
                image=images / ("Fractured" if fractured else "Non_fractured") / name,
                findings={"fracture": outlines[name]} if fractured else {},
                diagnosis="fracture" if fractured else "no fracture",
                group=name,
                body_part=regions[0] if len(regions) == 1 else None,
                attributes={
                    "hardware": row["hardware"] == "1",
                    "fracture_count": int(count) if count.isdigit() else 0,
                    "views": [view for view in VIEWS if row[view] == "1"],
                },
            )

    def _outlines(self) -> dict[str, tuple[MaskSpec, ...]]:
        path = self.require("Annotations/COCO JSON/COCO_fracture_masks.json")
        document = read_json(path)
        try:
            images = {image["id"]: image for image in document["images"]}
            outlines: dict[str, list[MaskSpec]] = defaultdict(list)
            for annotation in document["annotations"]:
                image = images[annotation["image_id"]]
                outlines[image["file_name"]] += _polygons(annotation["segmentation"], image)
        except (KeyError, TypeError, ValueError) as error:
            raise Sim4SegError(f"{path} is no COCO file with polygons: {error!r}") from None
        return {name: tuple(polygons) for name, polygons in outlines.items()}


def _polygons(segmentation: list[list[float]], image: dict[str, Any]) -> list[MaskSpec]:
    size = (int(image["width"]), int(image["height"]))
    return [
        Polygon(tuple(zip(flat[::2], flat[1::2], strict=True)), drawn_on=size)
        for flat in segmentation
    ]
