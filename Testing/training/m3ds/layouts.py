"""Made-up downloads in the original layout of every set, with what a build must say of them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (64, 48)
"""(width, height) of all images."""
Box = tuple[int, int, int, int]
BOX: Box = (10, 8, 30, 24)
OTHER: Box = (40, 20, 52, 40)


@dataclass(frozen=True)
class Expected:
    """What the record of one image must say; masks are boxes (left, top, right, bottom)."""

    masks: dict[str, tuple[Box, ...]] | None
    diagnosis: str | None
    group: str
    split: str = "train"
    body_part: str | None = None


def picture(path: Path, seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A smooth random picture, unlike that of any other seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return np.asarray(image)


def boxes(*places: Box, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Bool (H, W)."""
    mask = np.zeros((size[1], size[0]), bool)
    for left, top, right, bottom in places:
        mask[top:bottom, left:right] = True
    return mask


def mask_file(path: Path, *places: Box, size: tuple[int, int] = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(boxes(*places, size=size).astype(np.uint8) * 255).save(path)


def corners(box: Box) -> list[tuple[int, int]]:
    left, top, right, bottom = box
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def yolo_line(number: int, box: Box) -> str:
    values = [f"{x / SIZE[0]} {y / SIZE[1]}" for x, y in corners(box)]
    return f"{number} {' '.join(values)}\n"


def write_csv(path: Path, header: list[str], rows: list[list[object]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def frac_atlas(root: Path) -> dict[str, Expected]:
    root = root / "FracAtlas"
    picture(root / "images/Fractured/IMG0000019.jpg", 1)
    picture(root / "images/Non_fractured/IMG0000002.jpg", 2)
    columns = "image_id,hand,leg,hip,shoulder,mixed,hardware,multiscan,fractured,fracture_count"
    write_csv(
        root / "dataset.csv",
        [*columns.split(","), "frontal", "lateral", "oblique"],
        [
            ["IMG0000019.jpg", 1, 0, 0, 0, 0, 1, 0, 1, 2, 1, 1, 0],
            ["IMG0000002.jpg", 1, 1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0],
        ],
    )
    flat = [[v for point in corners(box) for v in point] for box in (BOX, OTHER)]
    document = {
        "images": [{"id": 7, "file_name": "IMG0000019.jpg", "width": 64, "height": 48}],
        "annotations": [{"image_id": 7, "segmentation": [points]} for points in flat],
    }
    path = root / "Annotations/COCO JSON/COCO_fracture_masks.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(document))
    return {
        "IMG0000019": Expected(
            {"fracture": (BOX, OTHER)}, "fracture", "IMG0000019.jpg", body_part="hand"
        ),
        "IMG0000002": Expected({}, "no fracture", "IMG0000002.jpg", body_part="limb"),
    }


def bone_fracture_detection(root: Path) -> dict[str, Expected]:
    names = "['elbow positive', 'fingers positive', 'forearm fracture', 'humerus fracture']"
    (root / "data.yaml").write_text(f"train: ../train/images\nnc: 4\nnames: {names}\n")
    labels = {
        "train/image1_1_png.rf.aa": yolo_line(1, BOX),
        "train/image1_1_png.rf.bb": "2 0.5 0.5 0.25 0.5\n",
        "valid/image2_7_png.rf.cc": "",
        "test/image3_9_png.rf.dd": yolo_line(0, BOX) + yolo_line(3, OTHER),
    }
    for n, (name, text) in enumerate(labels.items()):
        split, stem = name.split("/")
        picture(root / split / "images" / f"{stem}.jpg", 10 + n)
        (root / split / "labels").mkdir(parents=True, exist_ok=True)
        (root / split / "labels" / f"{stem}.txt").write_text(text)
    both = {"fracture": (BOX, OTHER)}
    return {
        "image1_1_png_rf_aa": Expected({"fracture": (BOX,)}, "finger fracture", "image1_1_png"),
        "image1_1_png_rf_bb": Expected(
            {"fracture": ((24, 12, 40, 36),)}, "forearm fracture", "image1_1_png"
        ),
        "image2_7_png_rf_cc": Expected({}, "no fracture", "image2_7_png", "val"),
        "image3_9_png_rf_dd": Expected(both, "elbow fracture", "image3_9_png", "test"),
    }


def bone_fracture(root: Path) -> dict[str, Expected]:
    (root / "data.yaml").parent.mkdir(parents=True, exist_ok=True)
    (root / "data.yaml").write_text("names: {0: Fracture}\n")
    picture(root / "train/images/a.png", 20)
    (root / "train/labels").mkdir()
    (root / "train/labels/a.txt").write_text(yolo_line(0, BOX))
    return {"a": Expected({"fracture": (BOX,)}, "fracture", "a", body_part="limb")}


def isbi2016(root: Path) -> dict[str, Expected]:
    train, test = "ISBI2016_ISIC_Part3B_Training", "ISBI2016_ISIC_Part3B_Test"
    for folder, name, seed in ((train, "ISIC_0000000", 30), (test, "ISIC_0000003", 31)):
        picture(root / f"{folder}_Data" / f"{name}.jpg", seed)
        mask_file(root / f"{folder}_Data" / f"{name}_Segmentation.png", BOX)
    (root / f"{train}_GroundTruth.csv").write_text("ISIC_0000000,benign\n")
    (root / f"{test}_GroundTruth.csv").write_text("ISIC_0000003,1.0\n")
    lesion = {"skin lesion": (BOX,)}
    return {
        "ISIC_0000000": Expected(lesion, "benign", "isic-ISIC_0000000"),
        "ISIC_0000003": Expected(lesion, "malignant", "isic-ISIC_0000003", "test"),
    }


def isic2018(root: Path) -> dict[str, Expected]:
    parts = (("Training", "ISIC_0000001"), ("Validation", "ISIC_0012255"), ("Test", "ISIC_0012169"))
    for n, (part, name) in enumerate(parts):
        picture(root / f"ISIC2018_Task1-2_{part}_Input" / f"{name}.jpg", 40 + n)
        mask_file(root / f"ISIC2018_Task1_{part}_GroundTruth" / f"{name}_segmentation.png", OTHER)
    picture(root / "ISIC2018_Task3_Training_Input/ISIC_0024306.jpg", 45)
    folder = root / "ISIC2018_Task3_Training_GroundTruth"
    folder.mkdir()
    write_csv(
        folder / "ISIC2018_Task3_Training_GroundTruth.csv",
        ["image", "MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"],
        [["ISIC_0024306", 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]],
    )
    write_csv(
        root / "ISIC-2017_Training_Part3_GroundTruth.csv",
        ["image_id", "melanoma", "seborrheic_keratosis"],
        [["ISIC_0000001", 0.0, 1.0], ["ISIC_0012255", 1.0, 0.0]],
    )
    lesion = {"skin lesion": (OTHER,)}
    return {
        "ISIC_0000001": Expected(lesion, "seborrheic keratosis", "isic-ISIC_0000001"),
        "ISIC_0012255": Expected(lesion, "melanoma", "isic-ISIC_0012255", "val"),
        "ISIC_0012169": Expected(lesion, None, "isic-ISIC_0012169", "test"),
        "ISIC_0024306": Expected(None, "melanocytic nevus", "isic-ISIC_0024306"),
    }


def kvasir(root: Path) -> dict[str, Expected]:
    picture(root / "Kvasir-SEG/images/cju0.jpg", 50)
    mask_file(root / "Kvasir-SEG/masks/cju0.jpg", (8, 8, 32, 24))
    return {"cju0": Expected({"polyp": ((8, 8, 32, 24),)}, "polyp", "kv-cju0")}


def busi(root: Path) -> dict[str, Expected]:
    folder = root / "Dataset_BUSI_with_GT"
    picture(folder / "benign/benign (1).png", 60)
    mask_file(folder / "benign/benign (1)_mask.png", BOX)
    mask_file(folder / "benign/benign (1)_mask_1.png", OTHER)
    picture(folder / "benign/benign (10).png", 61)
    mask_file(folder / "benign/benign (10)_mask.png", OTHER)
    picture(folder / "malignant/malignant (3).png", 62)
    mask_file(folder / "malignant/malignant (3)_mask.png", BOX)
    picture(folder / "normal/normal (2).png", 63)
    mask_file(folder / "normal/normal (2)_mask.png")
    mass = "breast mass"
    return {
        "benign_1": Expected({mass: (BOX, OTHER)}, "benign", "busi-benign_1"),
        "benign_10": Expected({mass: (OTHER,)}, "benign", "busi-benign_10"),
        "malignant_3": Expected({mass: (BOX,)}, "malignant", "busi-malignant_3"),
        "normal_2": Expected({}, "normal", "busi-normal_2"),
    }


def tn3k(root: Path) -> dict[str, Expected]:
    for n, name in enumerate(("trainval/0000", "trainval/0001", "test/0000")):
        part, stem = name.split("/")
        picture(root / f"{part}-image" / f"{stem}.jpg", 70 + n)
        mask_file(root / f"{part}-mask" / f"{stem}.jpg", (8, 8, 32, 24))
    (root / "label4trainval.csv").write_text("0000.jpg,0\n0001.jpg,1\n")
    (root / "label4test.csv").write_text("0000.jpg,1\n")
    (root / "tn3k-trainval-fold0.json").write_text('{"train": [0], "val": [1]}')
    nodule = {"thyroid nodule": ((8, 8, 32, 24),)}
    return {
        "trainval_0000": Expected(nodule, "benign", "tn3k-trainval_0000"),
        "trainval_0001": Expected(nodule, "malignant", "tn3k-trainval_0001", "val"),
        "test_0000": Expected(nodule, "malignant", "tn3k-test_0000", "test"),
    }


def chestx_det(root: Path) -> dict[str, Expected]:
    picture(root / "train_data/36200.png", 80)
    picture(root / "train_data/36201.png", 81)
    picture(root / "test_data/test_data/36199.png", 82)
    large = (2, 2, 60, 40)
    entries = [
        {"file_name": "36200.png", "syms": [], "boxes": [], "polygons": []},
        {
            "file_name": "36201.png",
            "syms": ["Effusion", "Fracture", "Fracture"],
            "boxes": [list(large), list(BOX), list(OTHER)],
            "polygons": [[list(p) for p in corners(b)] for b in (large, BOX, OTHER)],
        },
    ]
    (root / "ChestX_Det_train.json").write_text(json.dumps(entries))
    nodule = {"file_name": "36199.png", "syms": ["Diffuse Nodule"], "boxes": [list(BOX)]}
    nodule["polygons"] = [[list(p) for p in corners(BOX)]]
    (root / "ChestX_Det_test.json").write_text(json.dumps([nodule]))
    both = {"pleural effusion": (large,), "thoracic fracture": (BOX, OTHER)}
    return {
        "36200": Expected({}, "no finding", "chestxdet-36200"),
        "36201": Expected(both, "pleural effusion", "chestxdet-36201"),
        "36199": Expected(
            {"diffuse nodules": (BOX,)}, "diffuse nodules", "chestxdet-36199", "test"
        ),
    }


def fives(root: Path) -> dict[str, Expected]:
    for n, name in enumerate(("train/1_A", "train/2_N", "test/1_G")):
        part, stem = name.split("/")
        picture(root / part / "Original" / f"{stem}.png", 90 + n)
        mask_file(root / part / "Ground truth" / f"{stem}.png", BOX)
    vessels = {"retinal vessels": (BOX,)}
    return {
        "train_1_A": Expected(vessels, "age-related macular degeneration", "fives-train_1_A"),
        "train_2_N": Expected(vessels, "healthy", "fives-train_2_N"),
        "test_1_G": Expected(vessels, "glaucoma", "fives-test_1_G", "test"),
    }


def hrf(root: Path) -> dict[str, Expected]:
    picture(root / "images/01_h.jpg", 100)
    picture(root / "images/02_dr.JPG", 101)
    for name in ("01_h", "02_dr"):
        mask_file(root / "manual1" / f"{name}.tif", OTHER)
    vessels = {"retinal vessels": (OTHER,)}
    return {
        "01_h": Expected(vessels, "healthy", "hrf-01_h"),
        "02_dr": Expected(vessels, "diabetic retinopathy", "hrf-02_dr"),
    }


def drive(root: Path) -> dict[str, Expected]:
    for n, (part, stem) in enumerate((("training", "21_training"), ("test", "01_test"))):
        picture(root / "DRIVE" / part / "images" / f"{stem}.tif", 110 + n)
        mask_file(root / "DRIVE" / part / "1st_manual" / f"{stem[:2]}_manual1.gif", BOX)
    vessels = {"retinal vessels": (BOX,)}
    return {
        "21": Expected(vessels, None, "drive-21"),
        "01": Expected(vessels, None, "drive-01", "test"),
    }


def chase_db1(root: Path) -> dict[str, Expected]:
    for n, stem in enumerate(("Image_01L", "Image_01R")):
        picture(root / f"{stem}.jpg", 120 + n)
        mask_file(root / f"{stem}_1stHO.png", BOX)
        mask_file(root / f"{stem}_2ndHO.png", OTHER)
    vessels = {"retinal vessels": (BOX,)}
    return {name: Expected(vessels, None, "chase-Image_01") for name in ("Image_01L", "Image_01R")}


def ph2(root: Path) -> dict[str, Expected]:
    lines = ["||   Name   ||   Histological Diagnosis   || Clinical Diagnosis || ... ||"]
    for n, name in enumerate(("IMD002", "IMD061", "IMD063")):
        folder = root / "PH2 Dataset images" / name
        picture(folder / f"{name}_Dermoscopic_Image" / f"{name}.bmp", 130 + n)
        mask_file(folder / f"{name}_lesion" / f"{name}_lesion.bmp", BOX)
        lines.append(f"|| {name} ||                          ||        {n}           || 0 || ||")
    (root / "PH2_dataset.txt").write_text("\n".join([*lines, "", "Legends: Melanoma - 2"]))
    lesion = {"skin lesion": (BOX,)}
    return {
        "IMD002": Expected(lesion, "common nevus", "IMD002"),
        "IMD061": Expected(lesion, "atypical nevus", "IMD061"),
        "IMD063": Expected(lesion, "melanoma", "IMD063"),
    }


def lgg(root: Path) -> dict[str, Expected]:
    patient = "TCGA_CS_4941_19960909"
    for number, places in ((1, ()), (12, (BOX,))):
        stem = f"{patient}_{number}"
        picture(root / "kaggle_3m" / patient / f"{stem}.tif", 140 + number)
        mask_file(root / "kaggle_3m" / patient / f"{stem}_mask.tif", *places)
    (root / "kaggle_3m/data.csv").write_text("Patient\n")
    return {
        f"{patient}_1": Expected({}, "no tumor", patient),
        f"{patient}_12": Expected({"tumor": (BOX,)}, "lower-grade glioma", patient),
    }


def covid_cxr(root: Path) -> dict[str, Expected]:
    picture(root / "images/a-day1.jpeg", 160)
    rows: list[list[object]] = []
    for n, (target, box, colour) in enumerate(
        (("Left Lung", BOX, (255, 0, 0)), ("Consolidation", OTHER, (57, 105, 22)))
    ):
        crop = np.zeros((box[3] - box[1], box[2] - box[0], 4), np.uint8)
        crop[..., 3] = 255
        crop[..., :3] = colour
        crop[0, 0, :3] = 0
        (root / "masks").mkdir(exist_ok=True)
        Image.fromarray(crop).save(root / f"masks/{n}.png")
        rows.append([target, "a-day1.jpeg", f"masks/{n}.png", box[1], box[0]])
    rows.append(["Airways", "a-day1.jpeg", "", 0, 0])
    write_csv(root / "structure.csv", ["Template Name", "Filename", "Mask", "Top", "Left"], rows)
    write_csv(
        root / "metadata.csv",
        ["patientid", "finding", "view", "filename", "clinical_notes"],
        [[85, "COVID-19", "PA", "a-day1.jpeg", "Cough."]],
    )
    # The crop's first pixel is black: what is left of each box is the box without its corner.
    return {
        "a_day1": Expected(
            {
                target: ((left + 1, top, right, bottom), (left, top + 1, right, bottom))
                for target, (left, top, right, bottom) in (
                    ("left lung", BOX),
                    ("consolidation", OTHER),
                )
            },
            "COVID-19 pneumonia",
            "cxr-85",
        )
    }


def table(root: Path) -> dict[str, Expected]:
    for n, name in enumerate(("a", "b", "c")):
        picture(root / f"pictures/{name}.png", 170 + n)
    mask_file(root / "a1.png", BOX)
    mask_file(root / "a2.png", OTHER)
    write_csv(
        root / "records.csv",
        ["image", "target", "mask", "diagnosis", "group", "split", "modality", "body_part"],
        [
            ["pictures/a.png", "cyst", "a1.png", "benign", "p1", "", "CT", "kidney"],
            ["pictures/a.png", "stone", "a2.png", "benign", "p1", "", "CT", "kidney"],
            ["pictures/b.png", "", "none", "", "p1", "", "CT", "kidney"],
            ["pictures/c.png", "", "", "benign", "p2", "test", "CT", "kidney"],
        ],
    )
    return {
        "pictures_a": Expected({"cyst": (BOX,), "stone": (OTHER,)}, "benign", "csv-p1"),
        "pictures_b": Expected({}, None, "csv-p1", body_part="kidney"),
        "pictures_c": Expected(None, "benign", "csv-p2", "test"),
    }


LAYOUTS: dict[str, Callable[[Path], dict[str, Expected]]] = {
    "FracAtlas": frac_atlas,
    "BF": bone_fracture,
    "BoneFractureDetection": bone_fracture_detection,
    "ISBI2016": isbi2016,
    "ISIC2018": isic2018,
    "Kvasir-SEG": kvasir,
    "BUSI": busi,
    "TN3K": tn3k,
    "ChestX-Det": chestx_det,
    "FIVES": fives,
    "HRF": hrf,
    "DRIVE": drive,
    "CHASE_DB1": chase_db1,
    "PH2": ph2,
    "LGG": lgg,
    "COVID-CXR": covid_cxr,
    "csv": table,
}
