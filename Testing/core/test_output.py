"""What lands on disk, and that a failure leaves nothing behind."""

from __future__ import annotations

import errno
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from Sim4SegCore import output, painting
from Sim4SegCore.case import (
    Case,
    CheckedClaim,
    Diagnosis,
    Finding,
    Geometry,
    ModelIdentity,
    Query,
    Result,
)
from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.io import read_case, writing
from Sim4SegCore.measurements import measure
from Sim4SegCore.output import check_output_folder, result_to_dict, save_result
from Sim4SegCore.report.summary import report_text

GEOMETRY = Geometry((0.5, 0.5, 3.0), (1.0, 2.0, 3.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
FILES = {
    "mask.png",
    "overlay.png",
    "similarity.png",
    "explanation.png",
    "report.md",
    "result.json",
}


def make_result(
    labels: tuple[str, ...] = ("tumor",),
    geometry: Geometry | None = None,
    suffix: str = ".png",
    present: bool = True,
    confidence: float = 0.91,
    source: Path | None = Path("/home/jan.kowalski/scans/scan 1.png"),
) -> Result:
    case = Case(np.full((40, 50), 90, np.uint8), geometry, source, "CT", None, suffix)
    findings = []
    for index, label in enumerate(labels):
        mask = np.zeros(case.size, bool)
        if present:
            mask[5 : 15 + index, 10 + index * 5 : 14 + index * 5] = True
        findings.append(Finding(label, present, confidence, mask, measure(mask, case)))
    return Result(
        case=case,
        query=Query("Is there a tumor? Żółć 肿瘤"),
        diagnosis=Diagnosis("glioma", 0.721234567, (("meningioma", 0.2), ("none", 0.08))),
        reasoning="Bright, round.",
        findings=tuple(findings),
        similarity=np.linspace(0, 1, 2000, dtype=np.float32).reshape(40, 50),
        model=ModelIdentity("tiny", "ab" * 32, "r1"),
        timing={"encode": 0.123456789},
        warnings=("Low contrast.",),
        claims=(CheckedClaim("round", "shape", "contradicted", "elongated"),),
    )


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def strict(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder of a user who is not root, since root may write anywhere."""
    with tempfile.TemporaryDirectory() as name:
        user = os.geteuid()
        if user == 0:
            os.chown(name, 65534, 65534)
            os.seteuid(65534)
        try:
            yield Path(name)
        finally:
            os.seteuid(user)


# ------------------------------------------------------------------------------- result.json


def test_dictionary_has_every_field() -> None:
    result = make_result(geometry=GEOMETRY, suffix=".nii.gz")
    content = result_to_dict(result)
    report = content.pop("report")
    assert content == {
        "schema_version": "2.2",
        "query": "Is there a tumor? Żółć 肿瘤",
        "diagnosis": {
            "label": "glioma",
            "confidence": 0.721235,
            "uncertain": False,
            "alternatives": [
                {"label": "meningioma", "confidence": 0.2},
                {"label": "none", "confidence": 0.08},
            ],
        },
        "familiarity": None,
        "reasoning": "Bright, round.",
        "findings": [
            {
                "label": "tumor",
                "code": {"value": "108369006", "scheme": "SCT", "meaning": "Neoplasm"},
                "present": True,
                "confidence": 0.91,
                "mask_confidence": None,
                "mask": "mask.nii.gz",
                "measurements": {
                    "area_px": 40.0,
                    "image_fraction": 0.02,
                    "area_mm2": 10.0,
                    "regions": 1.0,
                    "longest_diameter_px": 10.7703,
                    "perpendicular_diameter_px": 7.42781,
                    "longest_diameter_mm": 5.38516,
                    "perpendicular_diameter_mm": 3.71391,
                    "intensity_mean": 90.0,
                    "intensity_sd": 0.0,
                    "rim_contrast": 0.0,
                },
            }
        ],
        "claims": [
            {
                "statement": "round",
                "kind": "shape",
                "verdict": "contradicted",
                "measured": "elongated",
            }
        ],
        "samples": {"answers": [], "masks": []},
        "warnings": ["Low contrast."],
        "model": {"name": "tiny", "sha256": "ab" * 32, "revision": "r1"},
        "timing": {"encode": 0.123457},
        "input": {
            "file": "scan 1.png",
            "size": [50, 40],
            "spacing_mm": [0.5, 0.5, 3.0],
            "modality": "CT",
        },
    }
    assert report["text"] == report_text(result)
    assert strict(json.dumps(content)) == content


def test_unknown_and_non_finite_values_are_null() -> None:
    result = make_result(confidence=float("nan"), source=None)
    content = strict(json.dumps(result_to_dict(result), allow_nan=False))
    assert content["findings"][0]["confidence"] is None
    assert content["input"]["file"] is None and content["input"]["spacing_mm"] is None


def test_numpy_numbers_are_written_as_json_numbers() -> None:
    result = make_result(confidence=np.float32(0.5))
    content = strict(json.dumps(result_to_dict(result)))
    assert content["findings"][0]["confidence"] == 0.5


def test_undecodable_file_name_is_still_strict_json() -> None:
    source = Path(os.fsdecode(b"scan\xff\n.png"))
    text = json.dumps(result_to_dict(make_result(source=source)), ensure_ascii=False)
    assert strict(text)["input"]["file"] == "scan??.png"
    text.encode("utf-8")


def test_report_gives_size_diagnosis_and_notice() -> None:
    in_pixels = report_text(make_result())
    assert (
        "Found: tumor (confidence 91%), covering 40 pixels, 2.0% of the image, 10.8 × 7.43 pixels."
        in in_pixels
    )
    assert "Suggested diagnosis: glioma (confidence 72%)." in in_pixels
    assert "research tool" in in_pixels and "\n" not in in_pixels
    assert "covering 10.0 mm²" in report_text(make_result(geometry=GEOMETRY))


def test_report_says_when_nothing_was_found() -> None:
    absent = report_text(make_result(present=False, confidence=0.04))
    assert "Not found: tumor (probability 4%)." in absent and "covering" not in absent
    assert "Nothing was found" in report_text(make_result(labels=()))


# ------------------------------------------------------------------------------- files


def test_saved_folder_holds_the_result(tmp_path: Path) -> None:
    result = make_result()
    folder = result.save(tmp_path / "new" / "päth 肺" / "out")
    assert names(folder) == FILES
    assert names(tmp_path / "new" / "päth 肺") == {"out"}
    assert np.array_equal(read_case(folder / "mask.png").image > 0, result.mask)
    text = (folder / "result.json").read_text(encoding="utf-8")
    assert strict(text) == result_to_dict(result)
    for name in ("overlay.png", "similarity.png", "explanation.png"):
        with Image.open(folder / name) as picture:
            picture.load()
            assert max(picture.size) >= 512


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_saved_mask_has_the_geometry_of_the_input(tmp_path: Path, suffix: str) -> None:
    result = make_result(geometry=GEOMETRY, suffix=suffix)
    back = read_case(save_result(result, tmp_path / "out") / f"mask{suffix}")
    assert back.geometry == GEOMETRY
    assert np.array_equal(back.image > 0, result.mask)


def test_several_findings_have_masks_of_their_own(tmp_path: Path) -> None:
    labels = ("Left lung / upper", "left-lung upper", "肿瘤", "../../etc", "x" * 300)
    result = make_result(labels)
    folder = save_result(result, tmp_path / "out")
    listed = [finding["mask"] for finding in result_to_dict(result)["findings"]]
    assert listed[:4] == [
        "mask_left-lung-upper.png",
        "mask_left-lung-upper-2.png",
        "mask_finding.png",
        "mask_etc.png",
    ]
    assert len(listed[4]) < 80
    assert names(folder) == FILES | set(listed)
    assert names(tmp_path) == {"out"}
    for finding, name in zip(result.findings, listed, strict=True):
        assert np.array_equal(read_case(folder / name).image > 0, finding.mask)
    assert np.array_equal(read_case(folder / "mask.png").image > 0, result.mask)


def test_nothing_found_is_saved_as_an_empty_mask(tmp_path: Path) -> None:
    for index, labels in enumerate([(), ("tumor",)]):
        folder = save_result(make_result(labels, present=False), tmp_path / str(index))
        assert names(folder) == FILES
        assert read_case(folder / "mask.png").image.max() == 0


def test_new_folder_has_ordinary_permissions(tmp_path: Path) -> None:
    folder = save_result(make_result(), tmp_path / "out")
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain.txt").touch()
    expected = stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    assert stat.S_IMODE(folder.stat().st_mode) == expected
    expected = stat.S_IMODE((tmp_path / "plain.txt").stat().st_mode)
    for entry in folder.iterdir():
        assert stat.S_IMODE(entry.stat().st_mode) == expected, entry.name


def test_current_folder_and_link_can_be_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    save_result(make_result(), tmp_path / "link")
    assert names(tmp_path / "real") == FILES and (tmp_path / "link").is_symlink()
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    save_result(make_result(), ".")
    assert names(tmp_path / "cwd") == FILES


# ------------------------------------------------------------------------------- overwriting


def test_folder_with_files_needs_overwrite(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(Sim4SegError, match="--overwrite"):
        save_result(make_result(), tmp_path)
    assert names(tmp_path) == {"notes.txt"}


def test_overwrite_replaces_only_our_files(tmp_path: Path) -> None:
    save_result(make_result(), tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "sub").mkdir()
    result = make_result(present=False)
    save_result(result, tmp_path, overwrite=True)
    assert names(tmp_path) == FILES | {"notes.txt", "sub"}
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert strict((tmp_path / "result.json").read_text())["findings"][0]["present"] is False
    assert read_case(tmp_path / "mask.png").image.max() == 0


def test_users_folder_with_the_name_of_our_file_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "overlay.png").mkdir()
    (tmp_path / "overlay.png" / "mine").touch()
    with pytest.raises(Sim4SegError, match="it is a folder"):
        save_result(make_result(), tmp_path, overwrite=True)
    assert names(tmp_path) == {"overlay.png"} and names(tmp_path / "overlay.png") == {"mine"}


# ------------------------------------------------------------------------------- bad folders


def test_check_accepts_what_can_be_written(tmp_path: Path) -> None:
    check_output_folder(tmp_path)
    check_output_folder(tmp_path / "a" / "b")
    assert names(tmp_path) == set()


def test_check_refuses_files_links_and_impossible_names(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    for bad in ("file", "dangling", "file/below", "x" * 300, "a\0b"):
        for overwrite in (False, True):
            with pytest.raises(Sim4SegError) as caught:
                check_output_folder(tmp_path / bad, overwrite)
            assert "\n" not in str(caught.value)


def test_check_refuses_places_without_permission(unprivileged: Path) -> None:
    locked = unprivileged / "locked"
    locked.mkdir()
    locked.chmod(0o500)
    for folder in (locked, locked / "new", locked / "a" / "b"):
        with pytest.raises(Sim4SegError, match="read-only"):
            check_output_folder(folder, overwrite=True)


def test_existing_folder_in_a_locked_parent_can_be_used(unprivileged: Path) -> None:
    parent = unprivileged / "parent"
    (parent / "out").mkdir(parents=True)
    parent.chmod(0o500)
    try:
        save_result(make_result(), parent / "out")
        assert names(parent / "out") == FILES and names(parent) == {"out"}
    finally:
        parent.chmod(0o700)


# ------------------------------------------------------------------------------- failures


@pytest.fixture
def quick_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures are tried many times over; what is in the pictures does not matter there."""

    def save_dot(figure: object, path: Path) -> None:
        Image.new("L", (2, 2)).save(path, format="PNG")

    monkeypatch.setattr(painting, "save_png", save_dot)


def raising(error: BaseException, original: Callable[..., Any], skip: int) -> Callable[..., Any]:
    """`original` until it was called `skip` times, then the error."""
    calls = [0]

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] > skip:
            raise error
        return original(*args, **kwargs)

    return wrapped


FAILURES = [
    (output, "write_mask", 0),
    (output, "write_mask", 1),
    (writing, "_write_png_mask", 0),
    (painting, "save_png", 0),
    (painting, "save_png", 1),
    (painting, "save_png", 2),
    (json, "dumps", 0),
    (Path, "write_text", 0),
    (Path, "write_text", 1),
    (Path, "mkdir", 0),
    (Path, "mkdir", 1),
]
ERRORS = [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()]


@pytest.mark.parametrize("error", ERRORS, ids=["disk full", "ctrl-c"])
@pytest.mark.parametrize(("owner", "name", "skip"), FAILURES)
@pytest.mark.usefixtures("quick_pictures")
def test_failure_while_writing_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    owner: Any,
    name: str,
    skip: int,
) -> None:
    result = make_result(("left", "right"))
    expected = Sim4SegError if isinstance(error, OSError) else KeyboardInterrupt
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, raising(error, getattr(owner, name), skip))
        with pytest.raises(expected) as caught:
            save_result(result, tmp_path / "parent" / "out")
    assert names(tmp_path) == set()
    if expected is Sim4SegError:
        assert "no space left" in str(caught.value)
    assert names(save_result(result, tmp_path / "parent" / "out")) > FILES


@pytest.mark.parametrize("error", ERRORS, ids=["disk full", "ctrl-c"])
@pytest.mark.parametrize("skip", range(20))
@pytest.mark.usefixtures("quick_pictures")
def test_failure_while_replacing_restores_the_old_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, skip: int
) -> None:
    """The error strikes once, at each renaming in turn."""
    save_result(make_result(), tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    before = {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()}
    original, calls = Path.replace, [0]

    def replace_until(self: Path, target: Path) -> Path:
        calls[0] += 1
        if calls[0] == skip + 1:
            raise error
        return original(self, target)

    replacement = make_result(("a", "b"), present=False)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace_until)
        try:
            save_result(replacement, tmp_path, overwrite=True)
            finished = True
        except (Sim4SegError, KeyboardInterrupt):
            finished = False
    assert finished is (calls[0] <= skip)
    if finished:
        assert names(tmp_path) == FILES | {"notes.txt", "mask_a.png", "mask_b.png"}
    else:
        assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == before


def test_interruption_after_a_renaming_restores_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_result(make_result(), tmp_path)
    before = {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()}
    original = Path.replace

    def replace_then_interrupt(self: Path, target: Path) -> Path:
        moved = original(self, target)
        if self.name == "overlay.png" and self.parent.name == "new":
            raise KeyboardInterrupt
        return moved

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace_then_interrupt)
        with pytest.raises(KeyboardInterrupt):
            save_result(make_result(present=False), tmp_path, overwrite=True)
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == before


def test_folder_that_appears_meanwhile_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Path.rename

    def rename_too_late(self: Path, target: Path) -> Path:
        target.mkdir()
        (target / "mine").touch()
        return original(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename_too_late)
        with pytest.raises(Sim4SegError):
            save_result(make_result(), tmp_path / "out")
    assert names(tmp_path) == {"out"} and names(tmp_path / "out") == {"mine"}


def test_defects_are_not_disguised_as_user_errors(tmp_path: Path) -> None:
    result = make_result()
    object.__setattr__(result, "similarity", np.zeros((3, 3), np.float32))
    with pytest.raises(ValueError, match="does not fit"):
        save_result(result, tmp_path / "out")
    assert names(tmp_path) == set()
