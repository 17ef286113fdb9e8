"""The command line, the report, and sets of one's own."""

import subprocess
import sys

import pytest
import yaml
from layouts import picture
from PIL import Image

from training import run
from training.m3ds.config import SetConfig
from training.m3ds.contact_sheet import choose
from training.records import data_folder, read_records

PLUGIN = '''
"""Scans whose findings are circles in a text file: name, x, y, radius, diagnosis."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from training.m3ds.masks import Mask
from training.m3ds.registry import register
from training.m3ds.source import RawCase, Skipped, Source


@dataclass(frozen=True)
class Circle:
    x: float
    y: float
    radius: float

    def rasterise(self, size: tuple[int, int]) -> Mask:
        rows, columns = np.mgrid[: size[1], : size[0]]
        return np.hypot(columns + 0.5 - self.x, rows + 0.5 - self.y) < self.radius


@register
class Circles(Source):
    kind, modality, body_part = "circles", "CT", "liver"
    licence, marker, download = "my own", "circles.txt", "my desk"

    def cases(self) -> Iterator[RawCase | Skipped]:
        for line in self.require("circles.txt").read_text().splitlines():
            name, x, y, radius, diagnosis = line.split()
            cyst = Circle(float(x), float(y), float(radius))
            yield RawCase(name, self.root / f"{name}.png", {"cyst": (cyst,)}, diagnosis, name)
'''


@pytest.fixture
def circles(tmp_path, downloads):
    """A plugin file for a set of 18 images, which two processes share."""
    plugin = tmp_path / "circles.py"
    plugin.write_text(PLUGIN)
    root = downloads / "circles"
    lines = []
    for n in range(18):
        picture(root / f"c{n}.png", 400 + n)
        lines.append(f"c{n} 30 20 {4 + n / 4} benign")
    (root / "circles.txt").write_text("\n".join(lines))
    return plugin


def test_a_set_of_ones_own_in_thirty_lines(circles, prepare):
    code = [line for line in PLUGIN.splitlines() if line.strip()]
    assert len(code) <= 30
    folder, _ = prepare("circles", plugins=(str(circles),), workers=2)
    records = read_records(folder, "train")
    assert len(records) == 18
    assert records[0].licence == "my own"
    with Image.open(folder / records[8].masks["cyst"]) as mask:
        area = sum(mask.convert("L").histogram()[128:])
    assert area == pytest.approx(3.14159 * 6**2, rel=0.1)


def test_command_writes_and_prints(make, downloads, tmp_path, capsys):
    make("BUSI")
    make("PH2")
    config = tmp_path / "m3ds.yaml"
    sets = {"BUSI": {}, "PH2": {}, "FIVES": {"enabled": False}}
    config.write_text(yaml.safe_dump({"sets": sets, "workers": 1}))
    command = ["prepare", "--config", str(config), f"downloads={downloads}"]
    command += [f"output={tmp_path / 'out'}", "fractions={train: 0.4, val: 0.3, test: 0.3}"]
    assert run.main(command) == 0
    printed = capsys.readouterr()
    rows = [[c.strip() for c in line.split("|")] for line in printed.out.splitlines()]
    assert next(r for r in rows if r[1:2] == ["all"])[5:8] == ["7", "6", "1"]
    assert "convert: 100%" in printed.err
    assert data_folder(str(tmp_path / "out")).name == "m3ds"
    assert run.main(command) == 2
    assert "add --overwrite" in capsys.readouterr().err
    assert run.main([*command, "--overwrite"]) == 0


def test_statistics_say_what_there_is(make, prepare):
    for name in ("BUSI", "ISIC2018", "LGG"):
        make(name)
    folder, _ = prepare("BUSI", "ISIC2018", "LGG")
    text = (folder / "STATISTICS.md").read_text()
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line]
    assert ["ISIC2018", "2", "1", "1", "4", "3", "0", "1", "0", "0"] in rows
    assert ["LGG", "2", "0", "0", "1", "1", "1", "0", "0", "0"] in rows
    assert ["all", "8", "1", "1", "9", "7", "2", "1", "0", "0"] in rows
    assert ["LGG", "tumor", "1", "10.42", "10.42 to 10.42"] in rows
    assert ["BUSI", "benign", "2", "0", "0"] in rows
    assert ["LGG", "CC BY-NC-SA 4.0"] in rows


def test_contact_sheet_outlines_the_masks(make, prepare):
    make("BUSI")
    make("ChestX-Det")
    folder, report = prepare("BUSI", "ChestX-Det", examples=3)
    with Image.open(folder / "contact_sheet.png") as file:
        sheet = file.convert("RGB")
    colours = {colour for _, colour in sheet.getcolors(sheet.width * sheet.height)}
    assert {(255, 209, 70), (72, 205, 255)} <= colours
    bare, _ = prepare("BUSI", overwrite=True, examples=0)
    assert not (bare / "contact_sheet.png").exists()
    busi = [b for b in report.built if b.record["dataset"] == "BUSI"]
    assert {b.record["diagnosis"] for b in choose(busi, 3)} == {"benign", "malignant", "normal"}


def test_worker_processes_need_no_torch():
    code = "import sys, training.m3ds.build, training.m3ds.sets; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_folder_of_another_name_can_be_used(make, prepare, downloads):
    make("PH2")
    (downloads / "PH2").rename(downloads / "PH2Dataset")
    folder, _ = prepare("PH2", sets={"PH2": SetConfig(folder="PH2Dataset")})
    assert len(read_records(folder, "train")) == 3
