"""The classifier: what it is taught, that it learns, and among what it chooses."""

import dataclasses
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from Sim4SegCore.errors import Sim4SegError
from training.baseline.answers import DiagnosisAsker
from training.baseline.diagnosis import DiagnosisBatch, diagnosis_loss, labels_by_set, labels_of
from training.baseline.networks import build_classifier
from training.baseline.predicting import DiagnosisPredictor
from training.evaluation import summarise
from training.records import read_records
from training.samples import IGNORED


def test_it_learns_what_can_be_seen(diagnosis_trainer, records, made_up_data):
    # Whether there is a tumor is in the pixels; what the other sets' labels say is not.
    brains = [record for record in records if record.dataset == "LGG"]
    trainer = diagnosis_trainer(40, brains)
    trainer.run()
    folder = made_up_data / "m3ds"
    predictor = DiagnosisPredictor(trainer.averaged(), 64)
    ask = DiagnosisAsker(predictor, labels_by_set(records), folder)
    rows = ask([*brains, *[r for r in read_records(folder, "val") if r.dataset == "LGG"]])
    metrics = summarise(rows, 0.5)[-1]
    assert metrics.questions == 10
    assert metrics.accuracy >= 0.9
    assert metrics.giou is None


def test_batches_have_the_diagnoses_of_their_records(diagnosis_trainer, records):
    trainer = diagnosis_trainer()
    known = {record.id: record.diagnosis for record in records}
    batches = [trainer.batches[step] for step in range(3)]
    for batch in batches:
        for name, diagnosis in zip(batch.record_ids, batch.diagnosis.tolist(), strict=True):
            assert diagnosis == IGNORED or trainer.network.labels[diagnosis] == known[name]
    assert {n for batch in batches for n in batch.diagnosis.tolist()} - {IGNORED}


def test_a_view_that_lost_its_finding_has_no_diagnosis(diagnosis_trainer, records, made_up_data):
    tumors = [r for r in records if r.diagnosis == "lower-grade glioma"]
    trainer = diagnosis_trainer(known=tumors)
    assert IGNORED not in trainer.batches[0].diagnosis.tolist()
    for record in tumors:
        path = made_up_data / "m3ds" / record.masks["tumor"]
        pixel = np.zeros((64, 48), np.uint8)
        pixel[30, 20] = 255
        Image.fromarray(pixel).save(path)
    blind = diagnosis_trainer(known=tumors)
    assert blind.batches[0].diagnosis.tolist() == [IGNORED] * 6


def test_what_has_no_diagnosis_is_not_taught():
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0]], requires_grad=True)
    batch = DiagnosisBatch(["a", "b"], torch.zeros(2, 3, 1, 1), torch.tensor([0, IGNORED]))
    loss = diagnosis_loss(logits, batch)["total"]
    loss.backward()
    assert loss.item() == pytest.approx(0.1269, abs=1e-3)
    assert logits.grad[0].any()
    assert not logits.grad[1].any()
    nothing = dataclasses.replace(batch, diagnosis=torch.full((2,), IGNORED))
    assert diagnosis_loss(logits, nothing)["total"] == 0


class Fixed(torch.nn.Module):
    """Always the same logits."""

    labels = ("benign", "glaucoma", "healthy")

    def __init__(self):
        super().__init__()
        self.logits = torch.nn.Parameter(torch.tensor([3.0, 0.0, 1.0]))

    def forward(self, images):
        return self.logits.expand(len(images), -1)


def test_it_chooses_among_the_sets_labels():
    predictor = DiagnosisPredictor(Fixed(), 32)
    pixels = torch.zeros(3, 20, 30, dtype=torch.uint8)
    label, probability = predictor(pixels, {"glaucoma", "healthy"})
    assert label == "healthy"
    assert probability == pytest.approx(torch.tensor([0.0, 1.0]).softmax(0)[1].item())
    assert predictor(pixels, ())[0] == "benign"


def test_what_cannot_be_built_is_said(records, monkeypatch):
    with pytest.raises(Sim4SegError, match="timm has no network 'resnet99'"):
        build_classifier(["a"], "resnet99", 0)
    with pytest.raises(Sim4SegError, match="no training record has a diagnosis"):
        labels_of([dataclasses.replace(record, diagnosis=None) for record in records])
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(Sim4SegError, match=r"needs timm: pip install 'sim4seg\[training\]'"):
        build_classifier(["a"], "test_resnet", 0)
