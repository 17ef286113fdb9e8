"""What a reader sees in explanation.png."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report_made_up import AXIAL, GLIOMA, MadeUp, box, sampled

from Sim4SegCore.case import Diagnosis, Geometry
from Sim4SegCore.report.explanation import FILL, explanation_picture
from Sim4SegCore.report.votes import Vote, tally

CYAN, AMBER = (0, 213, 255), (255, 176, 0)
ROOT = Path(__file__).resolve().parents[2]


def drawn(made_up: MadeUp) -> np.ndarray:
    return np.asarray(explanation_picture(made_up.result()))


def near(picture: np.ndarray, colour: tuple[int, int, int], within: int = 25) -> np.ndarray:
    return np.abs(picture.astype(int) - colour).max(axis=2) <= within


def fill() -> tuple[int, int, int]:
    red, green, blue = (int(FILL[at : at + 2], 16) for at in (1, 3, 5))
    return red, green, blue


# ------------------------------------------------------------------------------- the picture


def test_image_is_outlined_and_its_inside_left_as_it_is() -> None:
    mask = box((280, 280), 70, 140, 70, 70)
    picture = drawn(MadeUp(masks={"tumor": mask}, size=(280, 280)))
    outline = near(picture, CYAN)[:, :600]
    rows, columns = np.nonzero(outline[: outline.shape[0] * 3 // 4])
    # Panels are 560 pixels wide: one pixel of the image is two of the picture.
    assert np.ptp(columns) == pytest.approx(140, abs=5)
    assert np.ptp(rows) == pytest.approx(140, abs=5)
    inside = picture[rows.min() + 10 : rows.max() - 10, columns.min() + 10 : columns.max() - 10]
    assert np.ptp(inside, axis=2).max() == 0


def test_thin_networks_are_filled_instead_of_outlined_twice() -> None:
    mask = np.zeros((1120, 1120), bool)
    mask[:, ::70] = True
    mask[:, 1::70] = True
    picture = drawn(MadeUp(masks={"retinal vessels": mask}, size=(1120, 1120)))
    row = picture[400, 24:584].astype(int)
    tinted = row[:, 2] - row[:, 0] > 40
    assert np.count_nonzero(np.diff(tinted.astype(int)) == 1) == pytest.approx(16, abs=1)


def test_each_finding_has_its_own_colour() -> None:
    size = (200, 200)
    masks = {"left lung": box(size, 50, 20, 60, 60), "right lung": box(size, 50, 120, 60, 60)}
    picture = drawn(MadeUp(masks=masks, size=size))
    assert near(picture, CYAN).sum() > 200 and near(picture, AMBER).sum() > 200


def test_nothing_found_leaves_the_image_bare() -> None:
    picture = drawn(MadeUp(masks={"polyp": np.zeros((120, 160), bool)}))
    assert not near(picture, CYAN).any()
    assert drawn(MadeUp(masks={})).shape[1] == picture.shape[1]


def test_similarity_brightens_with_the_score() -> None:
    picture = drawn(MadeUp(size=(280, 280), masks={})).astype(int)
    panel = picture[90:640, 620:1180]
    assert panel[480:540].mean() > panel[240:300].mean() > panel[0:60].mean()


def test_similarity_with_nan_is_still_drawn() -> None:
    result = MadeUp().result()
    result.similarity[:60] = np.nan
    explanation_picture(result)


def test_bars_are_as_long_as_the_confidence() -> None:
    picture = drawn(MadeUp(diagnosis=Diagnosis("glioma", 0.8, (("meningioma", 0.2),))))
    lengths = near(picture, fill(), 0).sum(axis=1)
    long, short = lengths.max(), lengths[lengths > 0].min()
    assert long / short == pytest.approx(4, rel=0.05)


def test_pixels_keep_their_physical_proportions() -> None:
    flat = Geometry((1.0, 2.0, 1.0), (1, 2, 3), AXIAL.direction)
    masks = {"tumor": box((100, 200), 30, 60, 40, 80)}
    picture = drawn(MadeUp(masks=masks, size=(100, 200), geometry=flat))
    rows, columns = np.nonzero(near(picture, CYAN)[:600])
    assert np.ptp(rows) == pytest.approx(np.ptp(columns), abs=6)


@pytest.mark.parametrize(
    "size", [(2, 2), (64, 64), (100, 1000), (1000, 100), (3, 3000), (3000, 3), (1411, 1411)]
)
def test_any_size_gives_a_picture_of_reasonable_size(size: tuple[int, int]) -> None:
    mask = box(size, size[0] // 3, size[1] // 3, size[0] // 3 + 1, size[1] // 3 + 1)
    height, width, _ = drawn(MadeUp(masks={"tumor": mask}, size=size)).shape
    assert width == 1288 and 300 < height < 1300


def test_awkward_words_do_not_break_the_picture() -> None:
    size = (120, 160)
    words = ["word " * 60, "x" * 300, "肿瘤 żółć\n\t\x00", "$\\frac{", "  "]
    masks = [(label, box(size, 10, 10, 20, 20)) for label in words * 2]
    votes = sampled(*words, None)
    diagnosis = Diagnosis(words[0], float("nan"), tuple((word, 0.1) for word in words))
    made_up = MadeUp(masks=masks, diagnosis=diagnosis, samples=votes, query="Q" * 1000)
    assert drawn(made_up).shape[1] == 1288
    assert drawn(replace(made_up, diagnosis=Diagnosis(None, 0.2))).shape[1] == 1288


def test_parts_of_another_size_are_refused() -> None:
    result = MadeUp().result()
    object.__setattr__(result, "similarity", np.zeros((3, 3), np.float32))
    with pytest.raises(ValueError, match=r"map .* does not fit"):
        explanation_picture(result)
    result = MadeUp().result()
    object.__setattr__(result.findings[0], "mask", np.zeros((3, 3), bool))
    with pytest.raises(ValueError, match=r"mask .* does not fit"):
        explanation_picture(result)


def test_matplotlib_windows_are_never_loaded() -> None:
    program = (
        "import sys; sys.path.insert(0, 'Testing/report')\n"
        "from report_made_up import MadeUp\n"
        "from Sim4SegCore.report.explanation import explanation_picture\n"
        "explanation_picture(MadeUp().result())\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, timeout=300)
    assert done.returncode == 0


def test_saved_as_png(tmp_path: Path) -> None:
    folder = MadeUp().result().save(tmp_path / "out")
    with Image.open(folder / "explanation.png") as picture:
        assert np.array_equal(np.asarray(picture), drawn(MadeUp()))


# ------------------------------------------------------------------------------- votes


def test_votes_are_counted_for_the_diagnoses() -> None:
    samples = sampled("Glioma", "glioma", "meningioma", "abscess", None)
    assert tally(MadeUp(samples=samples).result()) == [
        Vote("glioma", 0.72, 2),
        Vote("meningioma", 0.2, 1),
        Vote("no tumor", 0.08, 0),
        Vote("abscess", None, 1),
        Vote(None, None, 1),
    ]


def test_a_single_answer_has_confidences_alone() -> None:
    assert tally(MadeUp(diagnosis=replace(GLIOMA, alternatives=(("rare", 0.001),))).result()) == [
        Vote("glioma", 0.72, 0)
    ]
    assert tally(MadeUp(diagnosis=Diagnosis(None, 0.4)).result()) == []
