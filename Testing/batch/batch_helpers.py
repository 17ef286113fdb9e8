"""What tests of batches share."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image


def draw(path, seed, size=(24, 32)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def read_table(out, name="results.csv"):
    with (Path(out) / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))
