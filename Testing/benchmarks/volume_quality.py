"""Dice of whole brain tumors: LGG validation patients as stacks, segmented slice by slice.

    SIM4SEG_DATA=… python Testing/benchmarks/volume_quality.py [--model M] [--patients N]

M3DS holds single slices of these patients, with gaps: each is put where its number says, and
slices in between stay empty. It does not hold the spacing either; the mean Dice is therefore
given for several assumed distances between slices, which decide how much neighbours count.
Baseline `one by one`: every slice answered on its own, as `sim4seg segment` would.
Prints numbers; asserts nothing.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from Sim4SegCore import Case, Geometry, Sim4Seg
from Sim4SegCore.volume import VolumeCase
from training.records import Record, data_folder, read_records

QUERY = "Is there a tumor? Segment it and tell me what it is."
DISTANCES = (2.0, 3.0, 5.0, 20.0)
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

Stack = tuple[NDArray[np.uint8], NDArray[np.bool_], list[int]]


def patients(folder: Path) -> dict[str, list[Record]]:
    """LGG records of the validation split, by patient."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in read_records(folder, "val"):
        if record.dataset == "LGG":
            groups[record.group].append(record)
    return groups


def stack_of(folder: Path, records: list[Record]) -> Stack:
    """RGB slices and tumor masks at the place of their number, and which places are filled."""
    numbers = [int(record.id.rsplit("_", 1)[1]) for record in records]
    places = [number - min(numbers) for number in numbers]
    pictures = [np.asarray(Image.open(folder / record.image).convert("RGB")) for record in records]
    voxels = np.zeros((max(places) + 1, *pictures[0].shape), np.uint8)
    truth = np.zeros(voxels.shape[:3], bool)
    for place, picture, record in zip(places, pictures, records, strict=True):
        voxels[place] = picture
        if record.masks:
            truth[place] = np.asarray(Image.open(folder / record.masks["tumor"])) > 0
    return voxels, truth, sorted(places)


def dice(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """1 where both are empty."""
    total = int(mask.sum() + truth.sum())
    return 2 * int((mask & truth).sum()) / total if total else 1.0


def one_by_one(
    predictor: Sim4Seg, voxels: NDArray[np.uint8], filled: list[int]
) -> NDArray[np.bool_]:
    """The mask of every slice alone."""
    mask = np.zeros(voxels.shape[:3], bool)
    for place in filled:
        mask[place] = predictor.segment(Case(voxels[place]), QUERY).mask
    return mask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="checkpoint folder or hub id (default: the embedded one)")
    parser.add_argument("--patients", type=int, default=1000, help="at most so many")
    options = parser.parse_args()
    folder = data_folder()
    predictor = Sim4Seg.from_pretrained(options.model)
    scores: dict[str, list[float]] = defaultdict(list)
    labels = []
    for group, records in list(patients(folder).items())[: options.patients]:
        voxels, truth, filled = stack_of(folder, records)
        scores["one by one"].append(dice(one_by_one(predictor, voxels, filled), truth))
        for distance in DISTANCES:
            geometry = Geometry((1.0, 1.0, distance), (0.0, 0.0, 0.0), IDENTITY)
            result = predictor.segment_volume(VolumeCase(voxels, geometry), QUERY)
            scores[f"slices, {distance:.0f} mm"].append(dice(result.mask, truth))
        labels.append(result.diagnosis.label)
        row = ", ".join(f"{name} {values[-1]:.3f}" for name, values in scores.items())
        print(f"{group} ({len(filled)} of {len(voxels)} slices): {row}, {labels[-1]}", flush=True)
    for name, values in scores.items():
        print(f"mean Dice, {name}: {statistics.mean(values):.3f} (lowest {min(values):.3f})")
    named = sum(label == "lower-grade glioma" for label in labels)
    print(f"patients whose tumor was named lower-grade glioma: {named} of {len(labels)}")


if __name__ == "__main__":
    main()
