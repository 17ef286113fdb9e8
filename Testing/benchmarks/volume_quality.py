"""Dice in whole volumes: brain tumors of LGG validation patients, and hippocampi.

    SIM4SEG_DATA=… python Testing/benchmarks/volume_quality.py [--model M] [--patients N]
    SIM4SEG_DATA=… python Testing/benchmarks/volume_quality.py --hippocampus [--modes volume]

Tumors are segmented slice by slice. M3DS holds single slices of these patients, with gaps: each is
put where its number says, and slices in between stay empty. It does not hold the spacing either;
the mean Dice is therefore given for several assumed distances between slices, which decide how
much neighbours count.
Baseline `one by one`: every slice answered on its own, as `sim4seg segment` would.

`--hippocampus` takes the validation volumes of the Medical Segmentation Decathlon (anterior and
posterior together are the target) in both modes: Dice, and how far the volume is off. Queries for
what is not in them should find nothing. Prints numbers; asserts nothing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from Sim4SegCore import Case, Geometry, Sim4Seg
from Sim4SegCore.io import read_volume_case
from Sim4SegCore.volume import SliceOptions, VolumeCase
from Sim4SegCore.volume.options import MODES

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from training.records import Record, data_folder, read_records

QUERY = "Is there a tumor? Segment it and tell me what it is."
HIPPOCAMPUS_QUERY = "Where is the hippocampus? Segment it and report its volume."
PARTS = {1: "Segment the anterior hippocampus.", 2: "Segment the posterior hippocampus."}
ABSENT = (
    "Where is the liver? Segment it.",
    "Is there a brain tumor? Segment it.",
    "Segment the left kidney.",
)
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


def measure_hippocampi(predictor: Sim4Seg, folder: Path, modes: list[str], most: int) -> None:
    """Print a line a volume and mode, then means."""
    dices: dict[str, list[float]] = defaultdict(list)
    errors: dict[str, list[float]] = defaultdict(list)
    empty: dict[str, list[bool]] = defaultdict(list)
    for path in sorted((folder / "images").glob("*.nii.gz"))[:most]:
        case = read_volume_case(path)
        labels = read_volume_case(folder / "labels" / path.name).voxels
        for mode in modes:
            options = SliceOptions(mode=mode, key_slices=1)
            asked = {"whole": (HIPPOCAMPUS_QUERY, labels > 0)}
            if mode == "volume":
                asked |= {f"part {part}": (query, labels == part) for part, query in PARTS.items()}
            for name, (query, truth) in asked.items():
                mask = predictor.segment_volume(case, query, options).mask
                dices[f"{mode}, {name}"].append(dice(mask, truth))
                errors[f"{mode}, {name}"].append(abs(int(mask.sum()) / int(truth.sum()) - 1))
            for query in ABSENT:
                found = predictor.segment_volume(case, query, options).mask.any()
                empty[f"{mode}, {query}"].append(not found)
        row = ", ".join(f"{name} {values[-1]:.3f}" for name, values in dices.items())
        print(f"{path.name}: {row}", flush=True)
    for name, values in dices.items():
        off = errors[name]
        print(
            f"mean Dice, {name}: {statistics.mean(values):.3f} (lowest {min(values):.3f}); "
            f"volume off by {statistics.mean(off):.1%} (median {statistics.median(off):.1%})"
        )
    for name, hits in empty.items():
        print(f"nothing found, {name} {sum(hits)} of {len(hits)}")


def measure_tumors(predictor: Sim4Seg, folder: Path, most: int) -> None:
    """Print a line a patient, then means."""
    scores: dict[str, list[float]] = defaultdict(list)
    labels = []
    for group, records in list(patients(folder).items())[:most]:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="checkpoint folder or hub id (default: the embedded one)")
    parser.add_argument("--patients", type=int, default=1000, help="at most so many")
    parser.add_argument("--hippocampus", action="store_true", help="instead of tumors")
    parser.add_argument(
        "--modes", nargs="+", default=list(MODES), choices=MODES, help="of --hippocampus"
    )
    options = parser.parse_args()
    folder = data_folder()
    predictor = Sim4Seg.from_pretrained(options.model)
    if options.hippocampus:
        volumes = folder.parent / "volumes" / "hippocampus" / "val"
        measure_hippocampi(predictor, volumes, options.modes, options.patients)
    else:
        measure_tumors(predictor, folder, options.patients)


if __name__ == "__main__":
    main()
