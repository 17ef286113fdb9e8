"""Every mistake in a download ends in one clear message, and nothing is lost."""

import csv
import errno
import json

import pytest
from layouts import BOX, boxes, mask_file, picture
from PIL import Image

from Sim4SegCore.errors import Sim4SegError
from training.m3ds.config import Fractions, PrepareConfig, SetConfig
from training.records import read_records


def truncate(path):
    path.write_bytes(path.read_bytes()[:200])


def drop_mask(root):
    (root / "PH2 Dataset images/IMD061/IMD061_lesion/IMD061_lesion.bmp").unlink()


def other_size(root):
    path = root / "PH2 Dataset images/IMD061/IMD061_lesion/IMD061_lesion.bmp"
    mask_file(path, BOX, size=(32, 32))


def cut_image(root):
    truncate(root / "PH2 Dataset images/IMD061/IMD061_Dermoscopic_Image/IMD061.bmp")


def cut_mask(root):
    truncate(root / "PH2 Dataset images/IMD061/IMD061_lesion/IMD061_lesion.bmp")


def no_image(root):
    (root / "PH2 Dataset images/IMD061/IMD061_Dermoscopic_Image/IMD061.bmp").unlink()


def strange_label(root):
    table = root / "PH2_dataset.txt"
    table.write_text(table.read_text().replace("        1           ", "        9           "))


def empty_mask(root):
    mask_file(root / "PH2 Dataset images/IMD061/IMD061_lesion/IMD061_lesion.bmp")


CASE_MISTAKES = [
    (drop_mask, "mask file is missing"),
    (other_size, "mask of another size than its image"),
    (cut_image, "image is truncated or no image"),
    (cut_mask, "mask file is truncated or no image"),
    (no_image, "image is missing"),
    (strange_label, "unknown label '9'"),
    (empty_mask, "mask is empty, though the set says there is something"),
]


@pytest.mark.parametrize(("spoil", "reason"), CASE_MISTAKES)
def test_too_many_mistakes_stop_the_build(spoil, reason, make, prepare, downloads, tmp_path):
    make("PH2")
    spoil(downloads / "PH2")
    with pytest.raises(Sim4SegError, match="PH2: 1 of 3 images cannot be used: 1 × ") as caught:
        prepare("PH2")
    message = str(caught.value)
    assert reason in message
    assert "first: IMD061" in message
    assert "max_skipped" in message
    assert list((tmp_path / "data").glob("*")) == []
    assert list((tmp_path / "data").glob(".*")) == []


@pytest.mark.parametrize(("spoil", "reason"), CASE_MISTAKES)
def test_few_mistakes_are_reported(spoil, reason, make, prepare, downloads):
    make("PH2")
    spoil(downloads / "PH2")
    folder, report = prepare("PH2", max_skipped=0.5)
    assert [r.id for r in read_records(folder, "train")] == ["PH2/IMD002", "PH2/IMD063"]
    assert [s.case for s in report.skipped["PH2"]] == ["IMD061"]
    with (folder / "skipped.csv").open(newline="") as file:
        [row] = list(csv.DictReader(file))
    assert (row["set"], row["case"]) == ("PH2", "IMD061")
    assert row["reason"].startswith(reason)
    assert reason in (folder / "STATISTICS.md").read_text()
    assert not list((folder / "images/PH2").glob("IMD061*"))


def test_missing_downloads_are_all_named(make, prepare):
    make("PH2")
    message = r"2 of 3 downloads are missing: BUSI, FIVES\. The first belongs in .*BUSI \(Cairo"
    with pytest.raises(Sim4SegError, match=message):
        prepare("PH2", "BUSI", "FIVES")
    folder, report = prepare("PH2", "BUSI", "FIVES", missing="skip")
    assert report.missing == ["BUSI", "FIVES"]
    assert "BUSI, FIVES" in (folder / "STATISTICS.md").read_text()
    assert prepare("PH2", "BUSI", only=("PH2",), overwrite=True)[1].missing == []


@pytest.mark.parametrize(
    ("name", "part", "message"),
    [
        ("BUSI", "Dataset_BUSI_with_GT/malignant", "'malignant' is missing"),
        ("FracAtlas", "FracAtlas/Annotations", "COCO_fracture_masks.json' is missing"),
        ("TN3K", "test-mask", "'test-mask' is missing"),
        ("BoneFractureDetection", "test/labels", "'test/labels' is missing"),
        ("PH2", "PH2_dataset.txt", "no 'PH2_dataset.txt' in"),
    ],
)
def test_half_unpacked_archives_are_recognised(name, part, message, make, prepare, downloads):
    make(name)
    path = downloads / name / part
    path.rename(path.with_name("elsewhere-unpacked"))
    with pytest.raises(Sim4SegError, match=message) as caught:
        prepare(name)
    assert "unpack" in str(caught.value)


def test_half_unpacked_images_are_recognised(make, prepare, downloads):
    make("ChestX-Det")
    (downloads / "ChestX-Det/train_data/36201.png").unlink()
    with pytest.raises(Sim4SegError, match="but the image is missing"):
        prepare("ChestX-Det")


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "message"),
    [
        ("BF", "data.yaml", "Fracture", "Hand", "unknown label 'Hand' in .*data.yaml; known are"),
        ("TN3K", "label4trainval.csv", ",1", ",7", "unknown label '7'"),
        ("ChestX-Det", "ChestX_Det_train.json", "Effusion", "Edema", "unknown label 'Edema'"),
        ("COVID-CXR", "structure.csv", "Left Lung", "Spleen", "unknown label 'Spleen'"),
        ("ISBI2016", "ISBI2016_ISIC_Part3B_Test_GroundTruth.csv", "1.0", "2", "unknown label '2'"),
        ("csv", "records.csv", "test", "later", "unknown split 'later'"),
        ("FracAtlas", "FracAtlas/dataset.csv", "fractured", "broken", "no column 'fractured'"),
        ("ChestX-Det", "ChestX_Det_train.json", "]", "", "cut off or no JSON"),
        ("BF", "data.yaml", "names", "labels", "does not list the classes under 'names'"),
        ("TN3K", "tn3k-trainval-fold0.json", "val", "test", "does not list numbers under"),
    ],
)
def test_unknown_labels_and_tables_are_named(
    name, file, old, new, message, make, prepare, downloads
):
    make(name)
    path = downloads / name / file
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(Sim4SegError, match=message):
        prepare(name)


def test_an_empty_split_is_named(make, prepare):
    make("LGG")
    with pytest.raises(Sim4SegError, match="nothing left for val and test: too few patients"):
        prepare("LGG", fractions=Fractions(0.8, 0.1, 0.1))


def test_full_disk_is_one_message_and_loses_nothing(make, prepare, monkeypatch, tmp_path):
    make("PH2")
    folder, _ = prepare("PH2")
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    original = Image.Image.save
    saved = []

    def save(self, path, *options, **named):
        saved.append(path)
        if len(saved) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(self, path, *options, **named)

    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(Sim4SegError, match=r"no space left on the disk of .* free some"):
        prepare("PH2", overwrite=True)
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["m3ds"]


def test_an_existing_output_is_only_replaced_when_asked(make, prepare):
    make("PH2")
    make("BUSI")
    folder, _ = prepare("PH2")
    (folder / "mine.txt").write_text("precious")
    with pytest.raises(Sim4SegError, match="is in use; choose another output or add --overwrite"):
        prepare("BUSI")
    assert (folder / "mine.txt").read_text() == "precious"
    replaced, _ = prepare("BUSI", overwrite=True)
    assert replaced == folder
    assert {r.dataset for r in read_records(folder, "train")} == {"BUSI"}
    assert not (folder / "mine.txt").exists()
    assert [p.name for p in folder.parent.iterdir()] == ["m3ds"]


def test_two_images_of_one_name_are_reported(make, prepare, downloads):
    make("Kvasir-SEG")
    root = downloads / "Kvasir-SEG/Kvasir-SEG"
    for n, name in enumerate(("a b", "a_b")):
        picture(root / f"images/{name}.jpg", 300 + n)
        mask_file(root / f"masks/{name}.jpg", (8, 8, 32, 24))
    _, report = prepare("Kvasir-SEG", max_skipped=0.5)
    assert [s.case for s in report.skipped["Kvasir-SEG"]] == ["a_b"]
    assert "another image of the set has" in report.skipped["Kvasir-SEG"][0].reason


def test_an_image_without_its_mask_is_reported(make, prepare, downloads):
    make("BUSI")
    (downloads / "BUSI/Dataset_BUSI_with_GT/malignant/malignant (3)_mask.png").unlink()
    _, report = prepare("BUSI", max_skipped=0.5)
    assert [(s.case, s.reason) for s in report.skipped["BUSI"]] == [
        ("malignant (3).png", "no mask file")
    ]


def test_a_deep_grey_image_is_stretched(prepare, downloads):
    root = downloads / "mine"
    root.mkdir(parents=True)
    deep = Image.fromarray((boxes(BOX) * 3000 + 500).astype("uint16"))
    deep.save(root / "a.png")
    (root / "records.csv").write_text("image,mask,modality,body_part\na.png,none,MRI,brain\n")
    folder, _ = prepare("mine", sets={"mine": SetConfig(kind="csv")})
    with Image.open(folder / "images/mine/a.jpg") as image:
        low, high = image.getextrema()
        assert image.mode == "L" and low < 8 and high > 247


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"longest_side": 8}, "at least 32"),
        ({"jpeg_quality": 0}, r"within 1\.\.100"),
        ({"max_skipped": 2.0}, "within 0..1"),
        ({"workers": -1}, "workers must be"),
        ({"sets": {}}, "no set to build"),
        ({"sets": {"BUSY": SetConfig()}}, "unknown set 'BUSY'; did you mean BUSI"),
        ({"only": ("HRF",)}, "'HRF' in only= is not among sets"),
        ({"plugins": ("nowhere.py",)}, "no plugin file nowhere.py"),
        ({"plugins": ("no_such_module",)}, "plugin 'no_such_module' cannot be imported"),
    ],
)
def test_wrong_configurations_are_refused(values, message, make, prepare):
    make("PH2")
    with pytest.raises(Sim4SegError, match=message):
        prepare("PH2", **values)


def test_fractions_must_sum_to_one():
    with pytest.raises(Sim4SegError, match=r"sum to 1, not 1\.1"):
        Fractions(0.8, 0.2, 0.1)


def test_settings_are_kept_beside_the_records(make, prepare):
    make("PH2")
    folder, _ = prepare("PH2", seed=7)
    assert json.loads((folder / "build.json").read_text())["seed"] == 7
    assert PrepareConfig().seed == 0
