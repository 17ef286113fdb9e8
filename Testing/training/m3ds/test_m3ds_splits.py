"""Groups stay together, splits repeat, and copies do not cross them."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layouts import BOX, mask_file, picture, write_csv
from PIL import Image

from training.m3ds.config import Fractions, SetConfig
from training.m3ds.duplicates import cross_split_duplicates
from training.m3ds.source import RawCase
from training.m3ds.split import assign_splits, leaks
from training.records import read_records

SHARES = {"train": 0.7, "val": 0.2, "test": 0.1}


def case(number, group, diagnosis="a", split=None):
    return RawCase(str(number), Path("x"), {}, diagnosis, group, split)


@given(st.lists(st.integers(0, 40), min_size=60, max_size=120), st.integers(0, 5))
def test_fractions_are_met_and_the_seed_decides(groups, seed):
    cases = {"s": [case(n, f"g{g}") for n, g in enumerate(groups)]}
    splits = assign_splits(cases, SHARES, seed)
    assert splits == assign_splits({"s": cases["s"][::-1]}, SHARES, seed)
    largest = max(groups.count(g) for g in groups)
    for split, share in SHARES.items():
        count = sum(splits[c.group] == split for c in cases["s"])
        assert abs(count - share * len(groups)) <= 2 * largest


def test_another_seed_gives_another_split():
    cases = {"s": [case(n, f"g{n}") for n in range(100)]}
    assert assign_splits(cases, SHARES, 0) != assign_splits(cases, SHARES, 1)


def test_rare_diagnoses_reach_every_split():
    labels = ["rare"] * 20 + ["common"] * 200
    cases = {"s": [case(n, f"g{n}", label) for n, label in enumerate(labels)]}
    splits = assign_splits(cases, SHARES, 0)
    found = defaultdict(set)
    for one in cases["s"]:
        found[one.diagnosis].add(splits[one.group])
    assert found["rare"] == found["common"] == set(SHARES)


def test_official_test_part_is_kept_and_the_rest_makes_validation():
    official = [case(n, f"t{n}", split="test") for n in range(10)]
    free = [case(n, f"g{n}") for n in range(90)]
    splits = assign_splits({"s": official + free}, SHARES, 0)
    assert {splits[c.group] for c in official} == {"test"}
    assert {splits[c.group] for c in free} == {"train", "val"}


def test_a_group_in_two_official_splits_leaks():
    cases = [case(0, "p", split="train"), case(1, "p", split="test"), case(2, "q", split="train")]
    splits = assign_splits({"s": cases}, SHARES, 0)
    assert splits == {"p": "test", "q": "train"}
    assert [(s.case, s.reason) for s in leaks(cases, splits)] == [
        ("0", "same patient or source image as in test")
    ]


def test_an_image_that_two_sets_share_stays_in_one_split(make, prepare, downloads):
    make("ISBI2016")
    make("ISIC2018")
    shared = downloads / "ISIC2018/ISIC2018_Task1-2_Training_Input/ISIC_0000003.jpg"
    picture(shared, 31)
    mask_file(
        downloads / "ISIC2018/ISIC2018_Task1_Training_GroundTruth/ISIC_0000003_segmentation.png",
        BOX,
    )
    folder, report = prepare("ISBI2016", "ISIC2018")
    assert "ISBI2016/ISIC_0000003" in {r.id for r in read_records(folder, "test")}
    assert "ISIC2018/ISIC_0000003" not in {r.id for r in read_records(folder, "train")}
    assert [s.case for s in report.left_out["ISIC2018"]] == ["ISIC_0000003"]


def draw_table(root, splits):
    """A csv set; splits[n] is image n's official split."""
    rows = []
    for n, split in enumerate(splits):
        picture(root / f"{n}.png", 200 + n)
        mask_file(root / f"{n}_m.png", BOX)
        rows.append([f"{n}.png", "cyst", f"{n}_m.png", "benign", f"p{n}", split, "CT", "kidney"])
    header = ["image", "target", "mask", "diagnosis", "group", "split", "modality", "body_part"]
    write_csv(root / "records.csv", header, rows)


def test_near_duplicates_across_splits_are_removed(prepare, downloads):
    root = downloads / "mine"
    draw_table(root, ["train", "train", "val", "test", "train"])
    # A recompressed, slightly brighter copy of the test image; and of a training image.
    for source, copy in ((3, 1), (0, 4)):
        with Image.open(root / f"{source}.png") as image:
            image.point(lambda v: min(255, v + 6)).save(root / f"{copy}.jpg", quality=60)
        with Image.open(root / f"{copy}.jpg") as image:
            image.save(root / f"{copy}.png")
        (root / f"{copy}.jpg").unlink()
    folder, report = prepare("mine", sets={"mine": SetConfig(kind="csv")})
    assert [r.id for r in read_records(folder, "train")] == ["mine/0", "mine/4"]
    assert [r.id for r in read_records(folder, "test")] == ["mine/3"]
    assert [(s.case, s.reason) for s in report.left_out["mine"]] == [
        ("mine/1", "near-duplicate of an image in another split: mine/3")
    ]
    assert not (folder / "images/mine/1.jpg").exists()
    assert not list((folder / "masks/mine").glob("1__*"))
    assert "mine,mine/1,near-duplicate" in (folder / "skipped.csv").read_text()


def test_validation_gives_way_to_test_and_training_to_both():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(3, 576)).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    thumbnails = rows[[0, 0, 0, 1, 1, 2, 2]]
    splits = ["test", "val", "train", "val", "train", "train", "train"]
    assert cross_split_duplicates(thumbnails, splits, 0.985) == {1: 0, 2: 0, 4: 3}


def test_same_seed_builds_the_same_files(make, prepare, tmp_path):
    make("PH2")
    make("BUSI")
    fractions = Fractions(0.5, 0.25, 0.25)
    first, second = (
        prepare("PH2", "BUSI", output=str(tmp_path / name), fractions=fractions)[0]
        for name in ("one", "two")
    )
    files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(second) for p in second.rglob("*") if p.is_file())
    for file in files:
        if file.name != "build.json":
            assert (first / file).read_bytes() == (second / file).read_bytes()


@pytest.mark.parametrize("workers", [2])
def test_processes_build_what_one_process_builds(make, prepare, tmp_path, workers, downloads):
    draw_table(downloads / "mine", ["train"] * 18)
    sets = {"mine": SetConfig(kind="csv")}
    alone, _ = prepare("mine", sets=sets)
    together, _ = prepare("mine", sets=sets, workers=workers, output=str(tmp_path / "parallel"))
    assert (alone / "train.jsonl").read_bytes() == (together / "train.jsonl").read_bytes()
    assert (alone / "images/mine/7.jpg").read_bytes() == (
        together / "images/mine/7.jpg"
    ).read_bytes()
