"""From a run folder to an inference checkpoint with its card."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from Sim4SegCore import ModelIdentity, Sim4Seg
from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.modeling.checkpoint import CARD_FILE, save_model
from Sim4SegCore.modeling.sim4seg import Sim4SegConfig, Sim4SegModel
from Sim4SegCore.scaling_config import Calibration

from .config import TrainingConfig
from .environment import timestamp
from .evaluation import (
    Row,
    SetMetrics,
    evaluate,
    mask_confidence_error,
    mean_accuracy,
    mean_over_sets,
    presence_rule,
    surprise,
    ungated,
)
from .familiarity.fitting import fit_familiarity
from .loop import split_calibration
from .networks import build_network
from .records import Record, data_folder, read_records, read_training_records
from .run_folder import ENVIRONMENT_FILE
from .soup import average_segmenters
from .state import BEST_FILE, STATE_FILE, fit, read

MASK_THRESHOLDS = (0.3, 0.4, 0.5)
DIAGNOSIS_HEAD_WEIGHTS = (0.0, 0.5, 0.8, 1.0)
TEMPERATURES = (0.7, 1.0, 1.4, 2.0, 2.8)
ABSTAIN_BELOW = 0.5
"""A diagnosis that is more likely wrong than right is called uncertain."""
FALSE_MASK_RATE = 0.05
"""Aimed at on the held-out training images; users lose trust over masks of nothing."""


def export(
    config: TrainingConfig,
    target: Path,
    note: str = "",
    segmenters: Sequence[Path] = (),
    with_familiarity: bool = True,
) -> None:
    """Write the averaged weights of a run, the best ones if it looked, as a checkpoint folder.

    Args:
        segmenters: other runs, whose segmenters are averaged with this one's.
        with_familiarity: fit what tells unfamiliar images apart; else the checkpoint cannot.

    Raises:
        Sim4SegError: if a run has no saved state, segmenters differ or the folder exists.
    """
    if target.exists():
        raise Sim4SegError(f"{target} exists; choose another folder for the checkpoint")
    output = Path(config.output)
    best = output / BEST_FILE
    saved = read(best if best.is_file() else output / STATE_FILE)
    folder = data_folder(config.data)
    fraction = config.calibration_fraction
    records, _ = split_calibration(read_training_records(folder, config.more_data), fraction)
    training, held_out = split_calibration(read_records(folder, "train"), fraction)
    network = build_network(config, records)
    model = network.model.eval()
    fit(saved["average"], {n: p for n, p in model.named_parameters() if p.requires_grad})
    average = average_segmenters(saved["average"], segmenters)
    model.load_state_dict(saved["buffers"] | average, strict=False)
    calibrate(model, held_out, folder)
    if with_familiarity:
        model.familiarity = fit_familiarity(model.lvlm, training, held_out, folder)
    card = _card(config, model, records, saved["step"]) | ({"note": note} if note else {})
    if segmenters:
        others = (_environment(run)["command"] for run in segmenters)
        card["segmenter_averaged_with"] = [_command(None, command) for command in others]
    save_model(model, target, card, network.adapter)


def calibrate(model: Sim4SegModel, held_out: Sequence[Record], folder: Path) -> None:
    """Choose thresholds, temperatures and the diagnosis head's weight on held-out training images.

    The mask threshold is the one with the best IoU, averaged over the sets that the model has
    learned at all; the weight is the one with the best accuracy, averaged over sets; the presence
    threshold, shifted for some targets, is the lowest that keeps masks of nothing below
    FALSE_MASK_RATE; the temperatures are those with which confidence fits what is right best.
    """
    with_mask = [record for record in held_out if record.masks]
    ious, accuracies = {}, {}
    for threshold in MASK_THRESHOLDS:
        rows = _ask(
            model, dataclasses.replace(model.config, mask_threshold=threshold), with_mask, folder
        )
        ious[threshold] = mean_over_sets(rows)
    model.config = dataclasses.replace(model.config, mask_threshold=_best(ious))
    for weight in DIAGNOSIS_HEAD_WEIGHTS:
        rows = _ask(
            model, dataclasses.replace(model.config, diagnosis_head_weight=weight), held_out, folder
        )
        accuracies[weight] = mean_accuracy(rows)
    threshold, shifts = presence_rule(rows, FALSE_MASK_RATE)
    model.config = dataclasses.replace(
        model.config,
        diagnosis_head_weight=_best(accuracies),
        presence_threshold=round(threshold, 4),
    )
    calibration = dataclasses.replace(
        _calibration(model, held_out, folder),
        presence_shifts=shifts,
        diagnoses_checked=dict(Counter(row.target for row in rows if row.diagnosis is not None)),
    )
    model.config = dataclasses.replace(model.config, calibration=calibration)


def _calibration(model: Sim4SegModel, held_out: Sequence[Record], folder: Path) -> Calibration:
    surprises, errors = {}, {}
    for temperature in TEMPERATURES:
        tried = Calibration(temperature, temperature)
        rows = _ask(model, dataclasses.replace(model.config, calibration=tried), held_out, folder)
        surprises[temperature] = -surprise(rows)
        errors[temperature] = -mask_confidence_error(rows)
    return Calibration(_best(surprises), _best(errors), ABSTAIN_BELOW)


def _ask(
    model: Sim4SegModel, config: Sim4SegConfig, records: Sequence[Record], folder: Path
) -> list[Row]:
    """Rows of the model with another configuration; its own is left as it is."""
    own = model.config
    model.config = config
    rows = evaluate(ungated(Sim4Seg(model, ModelIdentity("export", "", ""))), records, folder)
    model.config = own
    return rows


def _best(scores: dict[float, float]) -> float:
    """The value with the highest score; of equals the first."""
    return max(scores, key=lambda value: scores[value])


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


def _command(initial: str | None, arguments: Sequence[str]) -> str:
    """How the weights came to be: the command of the checkpoint that a run began with, and its own.

    Args:
        initial: that checkpoint; None for a run from scratch.
        arguments: the run's command line, of which what a reader's own run shares is told.
    """
    after = dict(itertools.pairwise(arguments))
    own = "python training/run.py train"
    if "--config" in after:
        own += f" --config {after['--config']}"
    if initial is None:
        return own
    card = Path(initial) / CARD_FILE
    before = json.loads(card.read_text(encoding="utf-8")) if card.is_file() else {}
    return f"{before.get('command', 'a checkpoint')}, then {own} initial=CHECKPOINT"


def _environment(run: Path) -> dict[str, Any]:
    environment: dict[str, Any] = json.loads((run / ENVIRONMENT_FILE).read_text(encoding="utf-8"))
    return environment


def _card(
    config: TrainingConfig, model: Sim4SegModel, records: list[Record], step: int
) -> dict[str, Any]:
    environment = _environment(Path(config.output))
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
        "command": _command(config.initial, environment["command"]),
        "trained_on": environment["gpu"] or f"CPU ({environment['processor']})",
        "revision": environment["revision"],
        "torch": environment["torch"],
        "exported": timestamp(),
        "presence_threshold": model.config.presence_threshold,
        "mask_threshold": model.config.mask_threshold,
        "diagnosis_head_weight": model.config.diagnosis_head_weight,
        "scaling": dataclasses.asdict(model.config.scaling),
        "calibration": dataclasses.asdict(model.config.calibration),
        "data": [
            {"set": name, "images": count, "licence": "; ".join(sorted(licences[name]))}
            for name, count in sorted(images.items())
        ],
    }
