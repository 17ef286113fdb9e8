"""Every set's layout becomes records with known masks, groups and diagnoses."""

import json

import numpy as np
import pytest
from layouts import LAYOUTS, SIZE, boxes
from PIL import Image

from training.m3ds.config import PrepareConfig
from training.m3ds.registry import kinds, source_class
from training.records import read_records
from training.settings import load


def read_all(folder):
    """Every record of a build: through the loader that training uses, and as plain JSON."""
    lines = {
        split: (folder / f"{split}.jsonl").read_text().splitlines()
        for split in ("train", "val", "test")
    }
    plain = [json.loads(line) for split in lines for line in lines[split]]
    loaded = {r.id: r for split in lines if lines[split] for r in read_records(folder, split)}
    return loaded, {record["id"]: record for record in plain}


@pytest.mark.parametrize("name", LAYOUTS)
def test_original_layout_becomes_records(name, make, prepare):
    expected = make(name)
    folder, report = prepare(name)
    loaded, plain = read_all(folder)
    assert set(loaded) == {f"{name}/{case}" for case in expected}
    assert not any(report.skipped.values())
    for case, wanted in expected.items():
        record = loaded[f"{name}/{case}"]
        assert record.dataset == name
        assert record.diagnosis == wanted.diagnosis
        assert record.group == wanted.group
        assert record.modality and record.licence
        assert plain[record.id]["split"] == wanted.split
        assert plain[record.id]["original_size"] == list(SIZE)
        assert wanted.body_part in (None, record.body_part)
        if wanted.masks is None:
            assert record.masks is None
            continue
        assert set(record.masks) == set(wanted.masks)
        for target, places in wanted.masks.items():
            with Image.open(folder / record.masks[target]) as mask:
                assert mask.mode == "1"
                np.testing.assert_array_equal(np.asarray(mask), boxes(*places))


@pytest.mark.parametrize("name", ["PH2", "BUSI"])
def test_image_is_the_downloads_image(name, make, prepare, downloads):
    expected = make(name)
    folder, _ = prepare(name)
    loaded, _ = read_all(folder)
    first = loaded[f"{name}/{next(iter(expected))}"]
    original = sorted(p for p in downloads.rglob("*") if p.name in ("IMD002.bmp", "benign (1).png"))
    with Image.open(folder / first.image) as image, Image.open(original[0]) as source:
        assert image.format == "JPEG"
        assert image.mode == ("L" if name == "BUSI" else "RGB")
        before = np.asarray(source.convert(image.mode), float)
        assert np.abs(before - np.asarray(image, float)).mean() < 4


def test_longest_side_limits_image_and_mask_alike(make, prepare):
    make("PH2")
    folder, _ = prepare("PH2", longest_side=32)
    record = read_records(folder, "train")[0]
    with (
        Image.open(folder / record.image) as image,
        Image.open(folder / record.masks["skin lesion"]) as mask,
    ):
        assert image.size == mask.size == (32, 24)
        np.testing.assert_array_equal(np.asarray(mask), boxes((5, 4, 15, 12), size=(32, 24)))


def test_the_shipped_configuration_names_every_set(pytestconfig):
    config = load(PrepareConfig, pytestconfig.rootpath / "training/configs/m3ds.yaml", [])
    named = {entry.kind or name for name, entry in config.sets.items()}
    assert named == set(LAYOUTS)
    assert set(LAYOUTS) <= set(kinds())
    for kind in named:
        assert source_class(kind).licence and source_class(kind).download


def test_attributes_are_kept(make, prepare):
    for name in ("FracAtlas", "LGG", "COVID-CXR", "ChestX-Det"):
        make(name)
    folder, _ = prepare("FracAtlas", "LGG", "COVID-CXR", "ChestX-Det")
    _, plain = read_all(folder)
    assert plain["FracAtlas/IMG0000019"]["attributes"] == {
        "hardware": True,
        "fracture_count": 2,
        "views": ["frontal", "lateral"],
    }
    assert plain["LGG/TCGA_CS_4941_19960909_12"]["attributes"]["slice"] == 12
    assert plain["COVID-CXR/a_day1"]["attributes"] == {"view": "PA", "clinical_notes": "Cough."}
    found = plain["ChestX-Det/36201"]["attributes"]["findings"]
    assert found == ["pleural effusion", "thoracic fracture"]
