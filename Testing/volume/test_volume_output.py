"""What is written of a volume's result, from Python and from the command line."""

import json
import signal
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from PIL import Image
from scipy.spatial.transform import Rotation
from stacks import STORED, marked_places, noise_volume, stored_anew
from tiny import compact_model

from Sim4SegCore import Geometry, ModelIdentity, Sim4Seg, Sim4SegError, cli
from Sim4SegCore.examples import dice, draw_phantom
from Sim4SegCore.figures import to_rgb
from Sim4SegCore.io import read_volume_case, write_volume_mask
from Sim4SegCore.report.terminology import terminology
from Sim4SegCore.report.wording import RESEARCH_NOTICE
from Sim4SegCore.volume import SliceOptions, VolumeCase
from Sim4SegCore.volume.output import volume_result_to_dict
from Sim4SegCore.volume.rendering import montage, shown_slices

QUERY = "Is there a polyp? Segment it."
LESION = "Is there a skin lesion? Segment it and tell me what it is."


@pytest.fixture(scope="module")
def predictor():
    model = compact_model(presence_threshold=0.1, mask_threshold=0.49)
    return Sim4Seg(model, ModelIdentity("tiny", "abc", "1"))


@pytest.fixture(scope="module")
def result(predictor):
    return predictor.segment_volume(noise_volume(), QUERY)


def phantom_stack(count: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Slices of a drawn lesion in grey, and its mask; on the outer two there is only skin."""
    picture, truth = draw_phantom()
    skin = np.full_like(picture, np.median(picture[:20].reshape(-1, 3), axis=0).astype(np.uint8))
    noise = np.random.default_rng(0).integers(-4, 5, picture.shape)
    plain = np.clip(skin.astype(int) + noise, 0, 255).astype(np.uint8)
    stack = np.stack([plain, *[picture] * (count - 2), plain])
    masks = np.stack([truth * 0, *[truth] * (count - 2), truth * 0]).astype(bool)
    return stack, masks


def write_phantom(path: Path, **stored: object) -> tuple[Path, VolumeCase]:
    """An oblique grey stack with thick slices; bright in the lesion, as its green is dark."""
    stack, _ = phantom_stack()
    tilt = tuple(Rotation.from_euler("x", 11, degrees=True).as_matrix().ravel())
    case = VolumeCase(stack[..., 1].astype(np.int16), Geometry((0.5, 0.5, 5.0), (1, 2, 3), tilt))
    if stored:
        case = stored_anew(case, **stored)
    image = SimpleITK.GetImageFromArray(case.voxels)
    image.SetSpacing(case.geometry.spacing)
    image.SetOrigin(case.geometry.origin)
    image.SetDirection(case.geometry.direction)
    SimpleITK.WriteImage(image, str(path))
    return path, case


# ------------------------------------------------------------------------------- files


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd"])
@pytest.mark.parametrize(("order", "is_reversed"), STORED[::7])
def test_masks_lie_on_the_volume_voxel_for_voxel(tmp_path, suffix, order, is_reversed):
    tilt = tuple(Rotation.from_euler("xyz", (11, -5, 3), degrees=True).as_matrix().ravel())
    case = stored_anew(noise_volume((4, 5, 6), direction=tilt), order, is_reversed)
    mask = case.voxels > np.median(case.voxels)
    write_volume_mask(mask, case.geometry, tmp_path / f"m{suffix}")
    back = read_volume_case(tmp_path / f"m{suffix}")
    assert np.array_equal(back.voxels > 0, mask)
    expected = marked_places(mask, case.geometry)
    assert np.allclose(marked_places(back.voxels > 0, back.geometry), expected, atol=0.01)


def test_a_mask_of_a_volume_is_no_picture(tmp_path):
    with pytest.raises(Sim4SegError, match="nii"):
        write_volume_mask(np.zeros((2, 3, 4), bool), noise_volume().geometry, tmp_path / "m.png")
    with pytest.raises(Sim4SegError, match="no such file or folder"):
        write_volume_mask(
            np.zeros((2, 3, 4), bool), noise_volume().geometry, tmp_path / "none" / "m.nrrd"
        )


def test_a_folder_holds_mask_overlay_and_json(result, tmp_path):
    folder = result.save(tmp_path / "out")
    assert sorted(p.name for p in folder.iterdir()) == ["mask.nii.gz", "overlay.png", "result.json"]
    back = read_volume_case(folder / "mask.nii.gz")
    assert np.array_equal(back.voxels > 0, result.mask)
    written = json.loads((folder / "result.json").read_text())
    assert written == json.loads(json.dumps(volume_result_to_dict(result)))
    with pytest.raises(Sim4SegError, match="--overwrite"):
        result.save(folder)
    (folder / "notes.txt").write_text("mine")
    result.save(folder, overwrite=True)
    assert (folder / "notes.txt").read_text() == "mine"


def test_json_has_an_images_fields_and_the_volumes(result):
    written = volume_result_to_dict(result)
    assert {"query", "diagnosis", "reasoning", "findings", "claims", "report", "input"} <= set(
        written
    )
    assert written["input"]["size"] == [50, 40, 6]
    assert written["input"]["spacing_mm"] == [1.0, 1.5, 6.0]
    volume = written["volume"]
    assert (volume["mode"], volume["plane"], volume["axis"]) == ("slices", "axial", "k")
    assert [entry["index"] for entry in volume["slices"]] == list(range(6))
    assert all(0 <= entry["presence"] <= 1 for entry in volume["slices"])
    assert all(key["reason"] and key["index"] in range(6) for key in volume["key_slices"])
    assert volume["slice_range"] == list(result.slice_range)
    sizes = written["findings"][0]["measurements"]
    assert sizes["volume_ml"] == pytest.approx(sizes["volume_mm3"] / 1000, rel=1e-5)
    assert RESEARCH_NOTICE in written["report"]["text"]
    assert not any(entry["is_interpolated"] for entry in volume["slices"])
    label = written["findings"][0]["label"]
    assert written["findings"][0]["code"] == asdict(terminology().structure(label).code)
    json.dumps(written, allow_nan=False)


def test_the_montage_shows_slices_with_outlines(result):
    figure = montage(result)
    pixels = to_rgb(figure).astype(int)
    assert pixels.shape[1] == 1200
    cyan = (pixels[..., 2] > 200) & (pixels[..., 0] < 90) & (pixels[..., 1] > 150)
    assert cyan.sum() > 200
    numbers = shown_slices(result)
    assert numbers == sorted(set(numbers)) and len(numbers) >= 4
    assert {key.index for key in result.key_slices} <= {result.view.index(n) for n in numbers}


def test_a_full_row_is_shown_of_a_small_finding(predictor):
    voxels = np.zeros((9, 20, 20), np.int16)
    voxels[8, 5, 5] = 1
    found = predictor.segment_volume(VolumeCase(voxels, noise_volume().geometry), QUERY)
    assert len(shown_slices(found)) >= 4
    assert to_rgb(montage(found)).shape[1] == 1200


# ------------------------------------------------------------------------------- the embedded model


def test_a_stack_of_a_drawn_lesion_is_outlined_on_its_slices(embedded):
    stack, truth = phantom_stack()
    case = VolumeCase(stack, noise_volume().geometry)
    found = embedded.segment_volume(case, LESION)
    alone = embedded.segment(stack[2], LESION)
    assert dice(found.mask, truth) > 0.75
    assert dice(found.mask[2], alone.mask) > 0.9
    assert found.findings[0].label == "skin lesion"
    assert {key.index for key in found.key_slices} <= set(range(1, 5))
    assert not any("which it does not name" in warning for warning in found.warnings)


def refuse(capsys, *arguments):
    assert cli.main([str(argument) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and len(printed.err.splitlines()) == 1
    return printed.err


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("scan.nii.gz", {}),
        ("scan.nrrd", {"order": (2, 0, 1), "is_reversed": (True, False, True)}),
    ],
)
def test_the_command_line_writes_a_mask_in_the_input_geometry(tmp_path, capsys, name, stored):
    path, case = write_phantom(tmp_path / name, **stored)
    out = tmp_path / "out"
    assert cli.main(["segment", str(path), LESION, "--mode", "slices", "-o", str(out)]) == 0
    mask = SimpleITK.ReadImage(str(out / f"mask{case.mask_suffix if not stored else '.nrrd'}"))
    scan = SimpleITK.ReadImage(str(path))
    assert mask.GetSize() == scan.GetSize()
    for get in ("GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(mask, get)() == pytest.approx(getattr(scan, get)(), abs=1e-4)
    text = capsys.readouterr().out
    assert text.startswith("Diagnosis") and "Finding    skin lesion" in text
    assert "Answered   on slices" in text
    assert Image.open(out / "overlay.png").size[0] == 1200
    written = json.loads((out / "result.json").read_text())
    assert written["volume"]["plane"] == "axial"
    assert len(written["volume"]["slices"]) == 6
    voxels = np.count_nonzero(SimpleITK.GetArrayFromImage(mask))
    assert (voxels > 0) == written["findings"][0]["present"]


def test_a_real_oblique_series_gives_its_mask_back_in_place(shared_data, tmp_path, capsys):
    folder = shared_data / "volumes" / "mr" / "glioblastoma_T1post_dicom"
    out = tmp_path / "out"
    arguments = ["segment", str(folder), "Is there a tumor?", "--mode", "slices", "--json"]
    assert cli.main([*arguments, "-o", str(out)]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((out / "result.json").read_text())
    mask = SimpleITK.ReadImage(str(out / "mask.nii.gz"))
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    scan = reader.Execute()
    far = (279, 319, 21)
    assert mask.GetSize() == scan.GetSize()
    for index in ((0, 0, 0), far):
        place = scan.TransformIndexToPhysicalPoint(index)
        assert mask.TransformIndexToPhysicalPoint(index) == pytest.approx(place, abs=0.02)


def test_options_that_do_not_go_together_are_refused(tmp_path, capsys):
    scan, _ = write_phantom(tmp_path / "a.nrrd")
    out = tmp_path / "out"
    common = ["segment", scan, LESION, "-o", out]
    assert "--mode slices" in refuse(capsys, *common, "--series", "1")
    assert "--mode slices" in refuse(capsys, *common, "--axis", "k")
    assert "--slice" in refuse(capsys, *common, "--mode", "slices", "--slice", "3")
    assert "--masks" in refuse(capsys, *common, "--mode", "slices", "--masks", "3")
    assert "unknown mode" in refuse(capsys, *common, "--mode", "cubes")
    assert "unknown axis" in refuse(capsys, *common, "--mode", "volume", "--axis", "z")
    assert "--slice" in refuse(capsys, *common, "--mode", "volume", "--slice", "3")
    assert "only DICOM" in refuse(capsys, *common, "--mode", "slices", "--series", "1")
    assert not out.exists()


@pytest.fixture
def usual_ctrl_c():
    """Jobs in the background of a shell start with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("usual_ctrl_c")
def test_a_first_ctrl_c_keeps_what_was_found_if_asked_to(tmp_path, monkeypatch):
    scan, _ = write_phantom(tmp_path / "a.nrrd")
    out = tmp_path / "out"
    raised = []

    def segment_volume(self, case, query, options):
        listener = self.progress

        def interrupt(step):
            if step.fraction > 0.3 and not raised:
                raised.append(step)
                signal.raise_signal(signal.SIGINT)
            listener(step)

        self.progress = interrupt
        return plain(self, case, query, SliceOptions(batch=1))

    plain = Sim4Seg.segment_volume
    monkeypatch.setattr(Sim4Seg, "segment_volume", segment_volume)
    arguments = ["segment", str(scan), LESION, "--mode", "slices", "-o", str(out)]
    assert cli.main(arguments) == 130 and not out.exists()
    raised.clear()
    assert cli.main([*arguments, "--keep-partial"]) == 0
    written = json.loads((out / "result.json").read_text())
    assert not written["volume"]["is_complete"]
    assert any("stopped early" in warning for warning in written["warnings"])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
