"""A made-up M3DS folder: small drawn images in the format of the real one."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def _draw(rng, size, with_blob):
    image = rng.normal(120, 12, (*size, 3))
    mask = np.zeros(size, bool)
    if with_blob:
        rows, columns = np.mgrid[: size[0], : size[1]]
        centre = rng.uniform(0.3, 0.7, 2) * size
        mask = np.hypot(rows - centre[0], columns - centre[1]) < 0.18 * min(size)
        image[mask] -= 80
    return np.clip(image, 0, 255).astype(np.uint8), mask


@pytest.fixture
def made_up_data(tmp_path: Path) -> Path:
    """A data folder with m3ds/ of 24 training and 6 validation records of three sets."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "data" / "m3ds"
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    sets = (
        ("PH2", "dermoscopy", "skin", "skin lesion", ("melanoma", "common nevus")),
        ("LGG", "MRI", "brain", "tumor", ("lower-grade glioma", "no tumor")),
        ("HRF", "fundus photograph", "retina", "retinal vessels", ("healthy", "glaucoma")),
    )
    for split, count in (("train", 24), ("val", 6)):
        lines = []
        for n in range(count):
            dataset, modality, body_part, target, labels = sets[n % 3]
            diagnosis = labels[(n // 3) % 2]
            present = diagnosis != "no tumor"
            image, mask = _draw(rng, ((48, 64), (64, 48), (64, 64))[n % 3], present)
            name = f"{split}{n}"
            Image.fromarray(image).save(folder / "images" / f"{name}.png")
            Image.fromarray(mask).save(folder / "masks" / f"{name}.png")
            findings = [{"target": target, "mask": f"masks/{name}.png"}] if present else []
            lines.append(
                json.dumps(
                    {
                        "id": name,
                        "dataset": dataset,
                        "image": f"images/{name}.png",
                        "findings": findings,
                        "modality": modality,
                        "body_part": body_part,
                        "diagnosis": diagnosis,
                        "group": name,
                        "licence": "made up",
                    }
                )
            )
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return folder.parent


@pytest.fixture
def tiny_overrides(made_up_data: Path, tmp_path: Path) -> list[str]:
    """Overrides that make a run of seconds."""
    return [
        f"data={made_up_data}",
        f"output={tmp_path / 'run'}",
        "steps=4",
        "batch_size=3",
        "workers=0",
        "threads=1",
        "save_every=2",
        "bfloat16=false",
        "device=cpu",
        "lvlm.stage_channels=[8, 8, 16, 16]",
        "lvlm.stage_depths=[1, 1, 1, 1]",
        "lvlm.vision_hidden_size=16",
        "lvlm.hidden_size=32",
        "lvlm.intermediate_size=48",
        "lvlm.layers=1",
        "lvlm.heads=2",
        "model.lvlm.image_size=64",
        "model.segmenter.image_size=64",
        "model.segmenter.embedding_stride=8",
        "model.segmenter.embed_dim=16",
        "model.segmenter.transformer_heads=2",
        "model.segmenter.transformer_mlp_dim=32",
        "model.segmenter.iou_head_hidden_dim=16",
        "model.detail.side=128",
        "sampling.detail_targets=[retinal vessels]",
    ]
