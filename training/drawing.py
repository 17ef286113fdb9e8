"""Self-training: a model draws masks where they are unknown, and keeps those that it is sure of.

Sets such as BUSI-256 and ISIC2017-256 name a diagnosis and no mask. What an earlier checkpoint
draws on their training images is noisy, but of many more patients than the masks of experts.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.frame import Frame
from Sim4SegCore.modeling.checkpoint import load_model, resolve_folder
from Sim4SegCore.modeling.sim4seg import Sim4SegModel
from Sim4SegCore.regions import filled, region_areas
from Sim4SegCore.scaling import expected_dice

from .batches import collate, predict
from .config import TrainingConfig
from .drawn_masks import LIST_FILE, DrawnMask
from .loop import split_calibration
from .m3ds.convert import slug
from .m3ds.staging import staged_folder
from .records import Record, data_folder, read_training_records
from .sample_views import PLAIN
from .samples import SampleMaker
from .target_directions import taught_targets
from .views import ImageStore
from .words import WordMaker

BATCH = 12


@dataclass(frozen=True)
class Drawn:
    """How many masks there could be, and how many were kept."""

    asked: int
    kept: int


def draw_masks(
    config: TrainingConfig, source: str | None, target: Path, least: float, overwrite: bool
) -> Drawn:
    """Draw the training images whose mask is unknown and whose diagnosis says that there is one.

    Args:
        source: checkpoint folder or hub id; None is the embedded one.
        least: Dice that the model must expect of its mask, 0..1.

    Raises:
        Sim4SegError: if there is no such image or checkpoint, or the target is in use.
    """
    folder = data_folder(config.data)
    records, _ = split_calibration(
        read_training_records(folder, config.more_data), config.calibration_fraction
    )
    unknown = [r for r in records if r.masks is None and r.is_present(r.asked)]
    if not unknown:
        raise Sim4SegError("every training image has its mask; there is nothing to draw")
    model = load_model(resolve_folder(source)).eval()
    config = dataclasses.replace(config, model=model.config)  # views as the drawing model sees them
    kept = 0
    with staged_folder(target, overwrite) as place:
        (place / "masks").mkdir()
        with (place / LIST_FILE).open("w", encoding="utf-8") as lines:
            for record, logits in _logits(config, model, unknown, folder):
                mask = _one_region(logits > model.config.mask_threshold_logit)
                dice = expected_dice(logits, mask, model.config.calibration)
                if dice is None or dice < least:
                    continue
                file = f"masks/{slug(record.id)}.png"
                Image.fromarray(mask.numpy().astype(np.uint8) * 255).save(place / file)
                lines.write(DrawnMask(record.id, file, round(dice, 3)).line)
                kept += 1
    return Drawn(len(unknown), kept)


def _one_region(mask: Tensor) -> Tensor:
    """The largest region of a mask, its holes filled: these sets show one lesion an image."""
    if not mask.any():
        return mask
    _, largest = region_areas(mask.numpy())
    return torch.from_numpy(filled(largest))


@torch.inference_mode()
def _logits(
    config: TrainingConfig, model: Sim4SegModel, records: Sequence[Record], folder: Path
) -> Iterator[tuple[Record, Tensor]]:
    """Each record with the logits (H, W) of its mask."""
    store = ImageStore(folder, cache_gib=0.0)
    labels = {label: n for n, label in enumerate(model.config.diagnoses)}
    targets = {target: n for n, target in enumerate(taught_targets(records))}
    words = WordMaker(config, model.lvlm, varied=False)
    maker = SampleMaker(config, store, model.lvlm, labels, targets, PLAIN, words)
    for start in tqdm(range(0, len(records), BATCH), unit="batch", mininterval=10):
        part = records[start : start + BATCH]
        samples = [maker.make(r, r.asked, False, random.Random(r.id)) for r in part]
        output = predict(model, collate(samples, maker))
        masks = output.grounding.mask_logits[:, :1].float()
        for record, sample, logits in zip(part, samples, masks, strict=True):
            frame: Frame = sample.sam_frame
            yield record, frame.invert(logits[None])[0, 0]
