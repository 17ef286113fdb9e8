"""Rows made up to measure."""

from collections.abc import Callable

import numpy as np
import pytest

from training.evaluation import Row
from training.evaluation.overlap import measure_overlap


def make_row(**changes) -> Row:
    values = {
        "id": "a",
        "dataset": "LGG",
        "target": "tumor",
        "present": True,
        "iou": None,
        "mask_drawn": True,
        "presence": 0.9,
        "diagnosis": "lower-grade glioma",
        "predicted": "lower-grade glioma",
        "confidence": 0.9,
        "modality_right": True,
    }
    return Row(**(values | changes))


def make_masked_row(mask, truth, **changes) -> Row:
    overlap = measure_overlap(mask, truth)
    drawn = bool(mask.any())
    return make_row(**({"iou": overlap.iou, "overlap": overlap, "mask_drawn": drawn} | changes))


@pytest.fixture
def row() -> Callable[..., Row]:
    return make_row


@pytest.fixture
def masked_row() -> Callable[..., Row]:
    """`masked_row(mask, truth, **changes)`."""
    return make_masked_row


@pytest.fixture
def mixed_rows() -> list[Row]:
    """Two sets: 12 patients of LGG with two images each, some without tumor, and 6 of PH2."""
    rng = np.random.default_rng(3)
    rows = []
    for patient in range(12):
        for image in range(2):
            present = patient % 3 != 0
            truth, mask = np.zeros((32, 32), bool), np.zeros((32, 32), bool)
            truth[8:20, 8:20] = present
            shift = int(rng.integers(0, 6))
            mask[8 + shift : 20 + shift, 8:20] = True
            changes = {
                "id": f"{patient}-{image}",
                "group": f"p{patient}",
                "present": present,
                "presence": float(rng.uniform(0.4, 1) if present else rng.uniform(0, 0.7)),
                "diagnosis": "lower-grade glioma" if present else "no tumor",
                "confidence": float(rng.uniform(0.5, 1)),
                "stated": {"presence": "present", "location": "in the centre"},
                "true": {"presence": "present" if present else "absent"}
                | ({"location": "in the centre"} if present else {}),
            }
            rows.append(make_masked_row(mask, truth, **changes) if present else make_row(**changes))
    for n in range(6):
        truth = np.zeros((32, 32), bool)
        truth[4:28, 4:28] = True
        changes = {"dataset": "PH2", "target": "skin lesion", "id": f"s{n}"}
        labels = {"diagnosis": "melanoma", "predicted": ("melanoma", "nevus")[n % 2]}
        rows.append(make_masked_row(truth, truth, **changes, **labels))
    return rows
