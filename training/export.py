"""From a run folder to an inference checkpoint with its card."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from Sim4SegCore import ModelIdentity, Sim4Seg
from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.modeling.checkpoint import CARD_FILE, save_model
from Sim4SegCore.modeling.sim4seg import Sim4SegModel

from .config import TrainingConfig
from .evaluation import SetMetrics, evaluate, mean_over_sets, presence_threshold, ungated
from .loop import STATE_FILE, new_model, split_calibration, timestamp
from .records import Record, data_folder, read_records

MASK_THRESHOLDS = (0.3, 0.4, 0.5)
FALSE_MASK_RATE = 0.05
"""Aimed at on the held-out training images; users lose trust over masks of nothing."""


def export(config: TrainingConfig, target: Path, note: str = "") -> None:
    """Write the averaged weights of a run as a checkpoint folder.

    Raises:
        Sim4SegError: if the run has no saved state or the folder exists.
    """
    if target.exists():
        raise Sim4SegError(f"{target} exists; choose another folder for the checkpoint")
    state_path = Path(config.output) / STATE_FILE
    if not state_path.is_file():
        raise Sim4SegError(f"no saved state in {config.output}; run train first")
    folder = data_folder(config.data)
    records, held_out = split_calibration(
        read_records(folder, "train"), config.calibration_fraction
    )
    model = new_model(config, records).eval()
    state = torch.load(state_path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["average"])
    calibrate(model, held_out, folder)
    card = _card(config, model, records, state["step"]) | ({"note": note} if note else {})
    save_model(model, target, card)


def calibrate(model: Sim4SegModel, held_out: Sequence[Record], folder: Path) -> None:
    """Choose mask and presence threshold on training images that were held out.

    The mask threshold is the one with the best IoU, averaged over the sets that the model has
    learned at all; the presence threshold is the lowest that keeps masks of nothing below
    FALSE_MASK_RATE.
    """
    predictor = ungated(Sim4Seg(model, ModelIdentity("export", "", "")))
    with_mask = [record for record in held_out if record.masks]
    ungated_config = model.config
    scores = {}
    for threshold in MASK_THRESHOLDS:
        model.config = dataclasses.replace(ungated_config, mask_threshold=threshold)
        scores[threshold] = mean_over_sets(evaluate(predictor, with_mask, folder))
    best = max(scores, key=lambda threshold: scores[threshold])
    model.config = dataclasses.replace(ungated_config, mask_threshold=best)
    rows = evaluate(predictor, held_out, folder)
    presence = round(presence_threshold(rows, FALSE_MASK_RATE), 4)
    model.config = dataclasses.replace(model.config, presence_threshold=presence)


def add_metrics(checkpoint: Path, split: str, table: Sequence[SetMetrics]) -> None:
    """Write the metrics of a split into a checkpoint's card."""
    path = checkpoint / CARD_FILE
    card = json.loads(path.read_text(encoding="utf-8"))
    card["metrics"] = {
        "split": split,
        "command": f"python training/run.py evaluate --split {split}",
        "sets": [dataclasses.asdict(metrics) for metrics in table],
    }
    temporary = path.with_suffix(".partial")
    temporary.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def _card(
    config: TrainingConfig, model: Sim4SegModel, records: list[Record], step: int
) -> dict[str, Any]:
    environment = json.loads((Path(config.output) / "environment.json").read_text())
    images: Counter[str] = Counter(record.dataset for record in records)
    licences: dict[str, set[str]] = defaultdict(set)
    for record in records:
        licences[record.dataset].add(record.licence)
    return {
        "name": "Sim4Seg embedded model",
        "intended_use": "Research only. Not a medical device; some training images allow "
        "research use only.",
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": step,
        "images_seen": step * config.batch_size,
        "command": "python training/run.py train --config training/configs/embedded.yaml",
        "revision": environment["revision"],
        "torch": environment["torch"],
        "exported": timestamp(),
        "presence_threshold": model.config.presence_threshold,
        "mask_threshold": model.config.mask_threshold,
        "data": [
            {"set": name, "images": count, "licence": "; ".join(sorted(licences[name]))}
            for name, count in sorted(images.items())
        ],
    }
