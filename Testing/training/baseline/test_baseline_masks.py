"""The U-Net: what it is taught, that it learns, and in which scales it draws."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.modeling.sim4seg import DetailConfig
from training.baseline.answers import MaskAsker
from training.baseline.masks import targets_of
from training.baseline.networks import build_unet
from training.baseline.predicting import MASK_THRESHOLD, MaskPredictor
from training.evaluation import summarise
from training.records import read_records


def gradients(trainer, batch):
    """Loss terms of a batch, and what they would change of each channel's last layer."""
    terms = trainer.loss(trainer.network(batch.images), batch)
    trainer.network.zero_grad()
    terms["total"].backward()
    last = list(trainer.network.parameters())[-1]
    assert last.shape == (len(trainer.network.targets),)
    return terms, last.grad


def test_only_the_asked_channel_is_taught(mask_trainer):
    trainer = mask_trainer()
    batch = trainer.batches[0]
    channel = trainer.network.targets.index("tumor")
    asked = dataclasses.replace(batch, channel=torch.full_like(batch.channel, channel))
    _, changed = gradients(trainer, asked)
    assert changed[channel] != 0
    assert changed.count_nonzero() == 1


def test_an_unknown_mask_is_not_taught(mask_trainer, records):
    unknown = [dataclasses.replace(r, masks=None) if r.dataset == "PH2" else r for r in records]
    trainer = mask_trainer(known=unknown)
    batch = trainer.batches[0]
    skin = {record.id for record in unknown if record.dataset == "PH2"}
    assert [name not in skin for name in batch.record_ids] == batch.known.tolist()
    assert not batch.known.all()
    terms, changed = gradients(trainer, batch)
    assert terms["total"] > 0
    assert changed[trainer.network.targets.index("skin lesion")] == 0


def test_an_absent_target_is_taught_as_an_empty_mask(mask_trainer, records):
    healthy = [record for record in records if record.masks == {}]
    batch = mask_trainer(known=healthy).batches[0]
    assert batch.known.all()
    assert not batch.mask.any()
    terms = mask_trainer(known=healthy).loss(torch.full((6, 3, 32, 32), 4.0), batch)
    assert terms["mask_bce"] == pytest.approx(4.0, abs=0.05)
    assert terms["mask_dice"] == 0


def test_targets_of_other_organs_are_absent(mask_trainer):
    trainer = mask_trainer()
    trainer.batches.mixture.sampling = dataclasses.replace(
        trainer.batches.mixture.sampling, mismatched=1.0
    )
    batch = trainer.batches[0]
    assert batch.known.all()
    assert not batch.mask.any()


def test_it_learns_where_dark_discs_are(mask_trainer, made_up_data):
    trainer = mask_trainer(steps=90)
    trainer.run()
    folder = made_up_data / "m3ds"
    predictor = MaskPredictor(trainer.averaged(), 64, DetailConfig(128), ["retinal vessels"])
    rows = MaskAsker(predictor, folder)(read_records(folder, "val"))
    assert len(rows) == 6
    table = {metrics.name: metrics for metrics in summarise(rows, MASK_THRESHOLD)}
    assert table["PH2"].giou > 0.7
    assert table["LGG"].giou > 0.7
    assert table["HRF"].giou > 0.7
    assert table["LGG"].presence_auroc == 1.0
    assert table["all"].accuracy is None


class Brightness(nn.Module):
    """Draws as its first target what is brighter than 100, with the U-Net's interface."""

    targets = ("line", "darkness")

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, images):
        level = nn.functional.avg_pool2d(images.float().mean(1, keepdim=True), 2) - 100
        return torch.cat([level, -level], dim=1) * self.weight


@pytest.fixture
def thin_line():
    """uint8 (3, 300, 400) with a bright line of 3 pixels, and its mask."""
    mask = np.zeros((300, 400), bool)
    mask[150:153] = True
    return torch.from_numpy(np.where(mask, 255, 0).astype(np.uint8)).expand(3, -1, -1), mask


def test_thin_targets_are_drawn_in_tiles(thin_line):
    pixels, mask = thin_line
    detail = DetailConfig(side=400)
    coarse = MaskPredictor(Brightness(), 64, detail, [])(pixels, "line")
    fine = MaskPredictor(Brightness(), 64, detail, ["line"])(pixels, "line")
    assert not coarse.mask.any()
    assert coarse.presence < MASK_THRESHOLD
    assert (fine.mask & mask).sum() / (fine.mask | mask).sum() > 0.6
    never = MaskPredictor(Brightness(), 64, DetailConfig(side=0), ["line"])(pixels, "line")
    assert not never.mask.any()


def test_a_target_has_its_own_channel_and_an_untaught_one_none(thin_line):
    pixels, mask = thin_line
    predictor = MaskPredictor(Brightness(), 64, DetailConfig(), [])
    assert predictor(pixels, "darkness").mask[~mask].all()
    unknown = predictor(pixels, "optic disc")
    assert unknown.mask.shape == mask.shape
    assert not unknown.mask.any()
    assert unknown.presence == 0.0


def test_what_cannot_be_built_is_said(records):
    with pytest.raises(Sim4SegError, match="multiple of 8, not 60; shorten"):
        build_unet(["a"], [8, 8, 8], 60, 0)
    with pytest.raises(Sim4SegError, match="no training record has a mask"):
        targets_of([dataclasses.replace(record, masks=None) for record in records])
