"""Predictors of known behaviour, and films whose structures have known brightness."""

import json
from types import SimpleNamespace

import numpy as np
from PIL import Image

from training.targets import synonyms

BRIGHTNESS = {
    "right lung": 70,
    "left lung": 100,
    "cardiomediastinum": 140,
    "ground glass opacities": 190,
}
NAMES = {name: target for target in BRIGHTNESS for name in synonyms(target)}
GROUND, OTHER = 30, 240
PLACES = {
    "right lung": (slice(8, 40), slice(4, 20)),
    "left lung": (slice(8, 40), slice(44, 60)),
    "cardiomediastinum": (slice(16, 44), slice(24, 40)),
    "ground glass opacities": (slice(48, 60), slice(4, 56)),
}


class Reader:
    """Remembers what it is shown and asked; `draw` says what it answers."""

    def __init__(self):
        self.images, self.queries = [], []

    def set_image(self, image):
        self.images.append(image)

    def ask(self, query):
        self.queries.append(query)
        mask = self.draw(self.images[-1][..., 0].astype(int), query)
        finding = SimpleNamespace(mask=mask, confidence=0.9 if mask.any() else 0.1)
        return SimpleNamespace(findings=(finding,))


class Obedient(Reader):
    """Draws what is as bright as the structure that the query names, and nothing else."""

    def draw(self, image, query):
        named = [NAMES[name] for name in NAMES if name in query.lower()]
        if not named:
            return np.zeros(image.shape, bool)
        wanted = BRIGHTNESS[named[0]]
        return np.abs(image - wanted) < 0.15 * wanted


class Stubborn(Reader):
    """Draws everything that is brighter than the ground, whatever it is asked."""

    def draw(self, image, query):
        return image > GROUND + 20


def write_films(folder, count=6, opacities=4):
    """A data folder of chest films and as many normal ultrasound images of the breast.

    Only the first `opacities` films have opacities.
    """
    place = folder / "m3ds"
    place.mkdir(parents=True)
    lines = []
    for number in range(count):
        image = np.full((64, 64), GROUND, np.uint8)
        findings = []
        for target, where in PLACES.items():
            if target == "ground glass opacities" and number >= opacities:
                continue
            mask = np.zeros((64, 64), bool)
            mask[where] = True
            image[where] = BRIGHTNESS[target]
            name = f"{number}-{target}.png"
            Image.fromarray(mask).save(place / name)
            findings.append({"target": target, "mask": name})
        Image.fromarray(image).save(place / f"COVID-CXR-{number}.png")
        other = np.where(image > GROUND, OTHER, GROUND).astype(np.uint8)
        Image.fromarray(other).save(place / f"BUSI-{number}.png")
        chest = ("COVID-CXR", "X-ray", "chest", "ARDS", findings)
        breast = ("BUSI", "ultrasound", "breast", "normal", [])
        for dataset, modality, body_part, diagnosis, found in (chest, breast):
            lines.append(
                {
                    "id": f"{dataset}/{number}",
                    "dataset": dataset,
                    "image": f"{dataset}-{number}.png",
                    "findings": found,
                    "modality": modality,
                    "body_part": body_part,
                    "diagnosis": diagnosis,
                    "group": "",
                    "licence": "made up",
                }
            )
    for split in ("train", "val"):
        (place / f"{split}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder
