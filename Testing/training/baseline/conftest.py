"""Baselines of seconds on the made-up data, and trainers of them."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from training.baseline.config import BaselineConfig, load_baseline
from training.baseline.diagnosis import DiagnosisBatches, diagnosis_loss, labels_of
from training.baseline.masks import MaskBatches, MaskLoss, targets_of
from training.baseline.networks import build_classifier, build_unet
from training.baseline.running import predict_images
from training.evaluation import Row
from training.evaluation.overlap import measure_overlap
from training.evaluation.rows import read_truth
from training.network_trainer import NetworkTrainer
from training.records import read_training_records
from training.views import ImageStore

SIDE = 64


@pytest.fixture
def config_file(made_up_data, tmp_path) -> Path:
    """A configuration whose base is a file beside it."""
    base = {
        "model": {
            "lvlm": {"image_size": SIDE},
            "segmenter": {"image_size": SIDE},
            "detail": {"side": 2 * SIDE},
        },
        "sampling": {"detail_targets": ["retinal vessels"], "mismatched": 0.0},
        "optimizer": {"warmup_steps": 2, "ema_decay": 0.9},
        "calibration_fraction": 0.2,
    }
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(base))
    values = {
        "output": str(tmp_path / "baseline"),
        "data": str(made_up_data),
        "batch_size": 6,
        "workers": 0,
        "device": "cpu",
        "bfloat16": False,
        "save_every": 2,
        "masks": {"base": "base.yaml", "steps": 3, "filters": [8, 16, 16]},
        "diagnosis": {"base": "base.yaml", "steps": 3, "architecture": "test_resnet"},
    }
    path = tmp_path / "baseline.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture
def config(config_file) -> BaselineConfig:
    return load_baseline(config_file, [])


@pytest.fixture
def records(made_up_data):
    """The made-up training split, none of it held out."""
    return read_training_records(made_up_data / "m3ds")


@pytest.fixture
def mask_trainer(config, records, made_up_data):
    """`mask_trainer(steps, records)`: of the U-Net."""

    def make(steps=3, known=records):
        changed = dataclasses.replace(config.masks, steps=steps, learning_rate=0.02)
        training = config.training(changed)
        targets = targets_of(records)
        batches = MaskBatches(training, known, targets, ImageStore(made_up_data / "m3ds", 1.0))
        network = build_unet(targets, changed.filters, SIDE, 0)
        return NetworkTrainer(
            training,
            network,
            batches,
            predict_images,
            MaskLoss(training.loss),
        )

    return make


@pytest.fixture
def diagnosis_trainer(config, records, made_up_data):
    """`diagnosis_trainer(steps, records)`: of the classifier."""

    def make(steps=3, known=records):
        changed = dataclasses.replace(config.diagnosis, steps=steps, learning_rate=0.01)
        training = config.training(changed)
        labels = labels_of(records)
        store = ImageStore(made_up_data / "m3ds", 1.0)
        batches = DiagnosisBatches(training, known, labels, store)
        network = build_classifier(labels, changed.architecture, 0)
        return NetworkTrainer(training, network, batches, predict_images, diagnosis_loss)

    return make


@pytest.fixture
def model_rows(made_up_data):
    """`model_rows(records)`: answers as of a model that finds everything and names one label."""

    def make(records):
        rows = []
        for record in records:
            for target in record.questions:
                truth = read_truth(record, target, made_up_data / "m3ds")
                overlap = None if truth is None else measure_overlap(truth, truth)
                rows.append(
                    Row(
                        id=record.id, dataset=record.dataset, target=target,
                        present=record.is_present(target),
                        iou=None if overlap is None else overlap.iou,
                        mask_drawn=truth is not None, presence=0.0 if truth is None else 0.9,
                        diagnosis=record.diagnosis, predicted="melanoma", confidence=0.75,
                        modality_right=True, group=record.group, overlap=overlap,
                    )
                )  # fmt: skip
        return rows

    return make
