"""`--mode volume` with the checkpoint that ships, on real scans."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK
from stacks import STORED, marked_places, stored_anew

from Sim4SegCore import Sim4Seg, cli
from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.io import read_volume_case
from Sim4SegCore.volume import SliceOptions

QUERY = "Where is the hippocampus? Segment it and report its volume."
VOLUME = SliceOptions(mode="volume", key_slices=1)


@pytest.fixture(scope="module")
def model():
    return Sim4Seg.from_pretrained(device="cpu")


@pytest.fixture
def crops(shared_data):
    return shared_data / "volumes" / "hippocampus" / "val"


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_the_command_line_finds_a_hippocampus_in_place(crops, tmp_path, capsys):
    path, out = crops / "images" / "hippocampus_142.nii.gz", tmp_path / "out"
    arguments = ["segment", str(path), QUERY, "--mode", "volume", "-o", str(out), "--json"]
    assert cli.main(arguments) == 0
    written = json.loads(capsys.readouterr().out)
    assert written["volume"]["mode"] == "volume"
    finding = written["findings"][0]
    assert finding["label"] == "hippocampus" and finding["present"]
    mask = SimpleITK.ReadImage(str(out / "mask.nii.gz"))
    truth = SimpleITK.ReadImage(str(crops / "labels" / path.name))
    for get in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(mask, get)() == pytest.approx(getattr(truth, get)(), abs=1e-4)
    masks = [SimpleITK.GetArrayFromImage(image) > 0 for image in (mask, truth)]
    assert dice(*masks) > 0.8
    assert finding["measurements"]["volume_mm3"] == pytest.approx(masks[0].sum())


@pytest.mark.parametrize("query", ["Where is the liver? Segment it.", "Segment the left kidney."])
def test_what_is_not_in_a_crop_is_not_found(model, crops, query):
    path = crops / "images" / "hippocampus_142.nii.gz"
    result = model.segment_volume(path, query, VOLUME)
    assert not result.findings[0].present and not result.mask.any()
    assert any("seems to ask for something else" in warning for warning in result.warnings)


def test_a_scan_of_a_kind_that_the_network_never_saw_is_refused(model, shared_data):
    scan = shared_data / "volumes" / "ct" / "small_3mm.nii.gz"
    with pytest.raises(Sim4SegError, match="taught MR scans and this is CT"):
        model.segment_volume(scan, QUERY, VOLUME)


def test_a_real_crop_stored_anew_has_its_mask_in_the_same_places(model, crops):
    case = read_volume_case(crops / "images" / "hippocampus_011.nii.gz")
    expected = model.segment_volume(case, QUERY, VOLUME)
    order, is_reversed = STORED[29]
    anew = stored_anew(case, order, is_reversed)
    result = model.segment_volume(anew, QUERY, VOLUME)
    there, here = (
        {tuple(place) for place in marked_places(one.mask, one.case.geometry)}
        for one in (expected, result)
    )
    assert len(there & here) > 0.99 * np.mean([len(there), len(here)])
