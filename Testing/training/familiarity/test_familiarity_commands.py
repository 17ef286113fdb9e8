"""From a checkpoint that cannot tell to one that can, and the tables about it."""

import re

import numpy as np
import pytest
import SimpleITK
import torch
from PIL import Image
from safetensors.torch import load_file

from Sim4SegCore import Sim4Seg
from Sim4SegCore.modeling.familiarity_file import FAMILIARITY_FILE, save_familiarity
from training.records import read_records

QUERY = "Is there a polyp?"
ROW = re.compile(r"^\| (.+?) \| (\d+) \| ([\d.]+) % \|$", re.MULTILINE)


def tables(printed):
    """Title -> name of a row -> (count, percentage called outside)."""
    found = {}
    for text in printed.strip().split("\n\n"):
        title = re.match(r"\| (.+?) \| n \| called outside \|", text).group(1)
        found[title] = {name: (int(n), float(share)) for name, n, share in ROW.findall(text)}
    return found


def familiarity(checkpoint, pixels):
    predictor = Sim4Seg.from_pretrained(checkpoint, device="cpu")
    return predictor.segment(pixels, QUERY).familiarity


def cross(seed):
    """A bright cross on grey: like nothing else that is shown while fitting."""
    pixels = np.random.default_rng(seed).normal(120, 12, (64, 64, 3))
    pixels[28:36] += (100, -100, 100)
    pixels[:, 28:36] += (100, -100, 100)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def save_crosses(folder, count):
    folder.mkdir()
    for seed in range(count):
        Image.fromarray(cross(seed)).save(folder / f"{seed}.png")
    return folder


def test_a_fitted_checkpoint_tells_its_data_from_others(command, checkpoint, made_up_data):
    code, printed = command("familiarity")
    assert code == 0
    limit = float(re.search(r"familiarity\.safetensors: limit ([\d.]+)$", printed.out)[1])
    first = load_file(checkpoint / FAMILIARITY_FILE)
    assert command("familiarity")[0] == 0
    again = load_file(checkpoint / FAMILIARITY_FILE)
    assert first.keys() == again.keys()
    assert all(torch.equal(value, again[name]) for name, value in first.items()), "always the same"
    code, printed = command("outside", "--split", "train", "--changed")
    assert code == 0
    found = tables(printed.out)
    assert list(found) == ["outside", "train", "train, changed"]
    outside, train, changed = found.values()
    assert set(train) == {"PH2", "LGG", "HRF", "all"} and train["all"][0] == 24
    assert [train[name][0] for name in ("PH2", "LGG", "HRF")] == [8, 8, 8]
    assert outside["all"][0] == sum(n for name, (n, _) in outside.items() if name != "all")
    assert outside["all"][1] > 80 and train["all"][1] < 20
    assert set(changed) == {"JPEG quality 50", "10 % brighter", "10 % darker", "half resolution"}
    assert all(count == 24 for count, _ in changed.values())

    figures = np.indices((128, 128)).sum(0) // 16 % 2 * np.uint8(255)
    judged = familiarity(checkpoint, figures)
    assert judged.is_outside and judged.limit == pytest.approx(limit)
    record = read_records(made_up_data / "m3ds", "train")[1]
    shown = np.asarray(Image.open(made_up_data / "m3ds" / record.image))
    assert not familiarity(checkpoint, shown).is_outside


def test_what_is_exposed_is_outside_from_then_on(command, checkpoint, tmp_path):
    folder = save_crosses(tmp_path / "crosses", 20)
    command("familiarity")
    before = familiarity(checkpoint, cross(99))
    assert command("familiarity", "--exposed", folder)[0] == 0
    after = familiarity(checkpoint, cross(99))
    assert after.is_outside
    assert after.distance / after.limit > 1.1 * before.distance / before.limit


def test_what_is_named_as_familiar_is_so_from_then_on(command, checkpoint, tmp_path):
    folder = save_crosses(tmp_path / "crosses", 20)
    command("familiarity")
    before = familiarity(checkpoint, cross(99))
    assert command("familiarity", "--familiar", folder)[0] == 0
    after = familiarity(checkpoint, cross(99))
    assert after.distance / after.limit < 0.9 * before.distance / before.limit


def test_scans_of_a_modality_that_no_set_has_are_outside(command, checkpoint, tmp_path):
    assert command("familiarity")[0] == 0
    shown = np.random.default_rng(0).normal(120, 12, (6, 40, 44)).astype(np.int16)
    for name, values in (("mr.nrrd", shown), ("ct.nrrd", np.where(shown > 125, shown, -1000))):
        scan = SimpleITK.GetImageFromArray(values.astype(np.int16))
        scan.SetSpacing((1.0, 1.0, 4.0))
        SimpleITK.WriteImage(scan, str(tmp_path / name))
    own = [tmp_path / "ct.nrrd", tmp_path / "mr.nrrd"]
    _, printed = command("outside", "--images", *own)
    assert tables(printed.out)["outside"]["ct.nrrd"] == (6, 100.0)
    predictor = Sim4Seg.from_pretrained(checkpoint, device="cpu")
    scan, other = (predictor.segment_volume(path, QUERY) for path in own)
    assert scan.familiarity.untaught_modality == "CT" and scan.familiarity.is_outside
    assert any("trained on no image of this modality (CT)" in text for text in scan.warnings)
    assert other.familiarity.untaught_modality is None


def test_images_and_volumes_of_ones_own_are_lines_of_the_table(
    command, checkpoint, judge, tmp_path, monkeypatch
):
    save_familiarity(judge, checkpoint)
    pictures, scans = save_crosses(tmp_path / "my pictures", 3), tmp_path / "scans"
    scans.mkdir()
    voxels = np.random.default_rng(0).integers(0, 900, (50, 40, 44)).astype(np.int16)
    voxels[:2] = 0
    thick, even = (1.0, 1.0, 4.0), (1.0, 1.0, 1.0)
    for place, part, spacing in (
        (scans / "long.nii.gz", voxels, thick),
        (tmp_path / "short.nrrd", voxels[:6], thick),
        (tmp_path / "even.nrrd", voxels, even),
        (tmp_path / "one.nrrd", voxels[9:10], thick),
    ):
        scan = SimpleITK.GetImageFromArray(part)
        scan.SetSpacing(spacing)
        SimpleITK.WriteImage(scan, str(place))
    names = ("short.nrrd", "even.nrrd", "one.nrrd")
    own = [pictures, scans, *(tmp_path / name for name in names)]
    code, printed = command("outside", "--limit", "2", "--images", *own)
    assert code == 0
    found = tables(printed.out)
    counts = {name: count for name, (count, _) in found["outside"].items()}
    assert counts["my pictures"] == 3
    assert counts["scans"] == 40, "of a long volume some slices, evenly spread"
    assert counts["short.nrrd"] == 4, "empty slices show nothing"
    assert counts["even.nrrd"] == 39, "thirteen of each plane, as it is looked at"
    assert counts["one.nrrd"] == 1
    assert found["val"]["all"][0] == 3, "every second of six"
    monkeypatch.chdir(pictures)
    _, printed = command("outside", "--images", ".")
    assert tables(printed.out)["outside"]["my pictures"][0] == 3
