"""What a reader sees in the pictures."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from Sim4SegCore.case import Case, Diagnosis, Finding, Geometry, ModelIdentity, Query, Result
from Sim4SegCore.measurements import measure
from Sim4SegCore.painting import save_png
from Sim4SegCore.rendering import overlay, similarity_picture

CYAN = np.array([0, 213, 255])
AMBER = np.array([255, 176, 0])
REPOSITORY = Path(__file__).resolve().parents[2]
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def disk(size: tuple[int, int], row: float, column: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[: size[0], : size[1]]
    return (rows - row) ** 2 + (columns - column) ** 2 < radius**2


def make_result(
    size: tuple[int, int] = (200, 300),
    masks: dict[str, np.ndarray] | None = None,
    geometry: Geometry | None = None,
    diagnosis: str | None = "glioma",
    query: str = "Is there a tumor?",
) -> Result:
    case = Case(np.full(size, 100, np.uint8), geometry)
    findings = tuple(
        Finding(label, bool(mask.any()), 0.9, mask, measure(mask, case))
        for label, mask in (masks or {}).items()
    )
    return Result(
        case=case,
        query=Query(query),
        diagnosis=Diagnosis(diagnosis, 0.7),
        reasoning="",
        findings=findings,
        similarity=np.linspace(0, 1, size[0] * size[1], dtype=np.float32).reshape(size),
        model=ModelIdentity("tiny", "0" * 64, "1"),
    )


def near(picture: np.ndarray, colour: np.ndarray) -> np.ndarray:
    return np.abs(picture.astype(int) - colour).max(axis=2) < 25


def drawn(result: Result) -> np.ndarray:
    return np.asarray(overlay(result.case, result))


def test_outline_runs_along_the_mask_and_the_inside_stays_visible() -> None:
    mask = disk((600, 800), 300, 200, 100)
    picture = drawn(make_result((600, 800), {"tumor": mask}))
    outline = near(picture[:600], CYAN)
    rows, columns = np.nonzero(outline)
    distance = np.hypot(rows - 300, columns - 200)
    assert len(distance) > 400
    assert np.abs(distance - 100).max() < 4
    centre, outside = picture[300, 200].astype(int), picture[300, 600].astype(int)
    assert outside.tolist() == [100, 100, 100]
    assert centre[2] - centre[0] > 30 and 50 < centre[0] < 100


def test_outline_is_closed_where_the_mask_touches_the_edge() -> None:
    mask = np.zeros((600, 800), bool)
    mask[:, :300] = True
    picture = drawn(make_result((600, 800), {"tumor": mask}))
    assert near(picture[:600], CYAN)[:, 290:310].any(axis=1).all()
    assert near(picture[:600], CYAN)[100:500, :3].any(axis=1).mean() > 0.9


def test_each_finding_has_its_own_colour_in_picture_and_legend() -> None:
    size = (600, 800)
    masks = {"left lung": disk(size, 300, 200, 90), "right lung": disk(size, 300, 600, 90)}
    picture = drawn(make_result(size, masks))
    left, right = near(picture[:600], CYAN), near(picture[:600], AMBER)
    assert left[:, :400].any() and not left[:, 400:].any()
    assert right[:, 400:].any() and not right[:, :400].any()
    legend = picture[600:]
    assert near(legend, CYAN).sum() > 60 and near(legend, AMBER).sum() > 60


def written(draw: Callable[[Result], object], result: Result) -> list[tuple[str, float, float]]:
    """What stands in a picture, with the pixels where it begins and ends."""
    texts = []
    original = ImageDraw.ImageDraw.text

    def note(self: ImageDraw.ImageDraw, xy: tuple[float, float], text: str, *rest: Any, **how: Any):
        texts.append((text, xy[0], xy[0] + self.textlength(text, rest[1])))
        original(self, xy, text, *rest, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageDraw.ImageDraw, "text", note)
        draw(result)
    return texts


def caption_texts(result: Result) -> list[str]:
    return [text for text, _, _ in written(drawn, result)]


def test_caption_names_finding_size_confidence_and_diagnosis() -> None:
    mask = disk((200, 300), 100, 100, 30)
    texts = caption_texts(make_result(masks={"tumor": mask}))
    assert texts[0] == f"tumor: {mask.sum()} px, confidence 90%"
    assert texts[1] == "Diagnosis: glioma (70%)"
    assert "Research tool" in texts[-1]
    geometry = Geometry((0.5, 0.5, 3.0), (0, 0, 0), IDENTITY)
    with_size = caption_texts(make_result(masks={"tumor": mask}, geometry=geometry))
    assert f"{mask.sum() / 4:.4g} mm²" in with_size[0]


def test_nothing_found_leaves_the_image_bare_and_says_so() -> None:
    result = make_result(masks={"tumor": np.zeros((200, 300), bool)}, diagnosis=None)
    assert caption_texts(result)[0] == "Nothing found for: tumor"
    picture = drawn(result)
    assert (picture[:300, :500] == 100).all()
    assert caption_texts(make_result(diagnosis=None))[0] == "Nothing found in this image"


@pytest.mark.parametrize(
    "size", [(20, 30), (256, 256), (700, 400), (1000, 1000), (3000, 2000), (1500, 4000), (2, 900)]
)
def test_pictures_keep_a_reasonable_size(size: tuple[int, int]) -> None:
    result = make_result(size, {"tumor": disk(size, size[0] / 2, size[1] / 2, size[0] / 5)})
    for drawing in (overlay(result.case, result), similarity_picture(result)):
        picture = np.asarray(drawing)
        assert 512 <= max(picture.shape[:2]) <= 1400
        assert picture.shape[2] == 3 and picture.dtype == np.uint8


def test_moderate_images_are_drawn_pixel_by_pixel() -> None:
    result = make_result((600, 800))
    noise = np.random.default_rng(0).integers(0, 256, (600, 800), dtype=np.uint8)
    assert np.array_equal(np.asarray(overlay(Case(noise), result))[:600, :, 1], noise)


def test_anisotropic_pixels_keep_physical_proportions() -> None:
    geometry = Geometry((1.0, 2.0, 1.0), (0, 0, 0), IDENTITY)
    mask = disk((300, 600), 150, 300, 80)
    picture = drawn(make_result((300, 600), {"tumor": mask}, geometry))
    rows, columns = np.nonzero(near(picture[:600], CYAN))
    assert picture.shape[1] == 600
    assert abs(np.ptp(rows) / np.ptp(columns) - 2) < 0.1


def test_awkward_labels_do_not_break_the_picture() -> None:
    mask = disk((200, 300), 100, 100, 30)
    labels = ["$x^2$ \\frac{", "line\nbreak\ttab", "肿瘤", "word " * 200, "x" * 500, "%s {0}"]
    result = make_result(masks=dict.fromkeys(labels, mask), query="$\\bad$ 肿瘤?")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = drawn(result)
        similarity_picture(result)
    assert max(picture.shape[:2]) <= 1400
    for text, left, right in written(drawn, result):
        assert left >= 0 and right <= picture.shape[1], text


def test_many_findings_are_cut_short_but_the_notice_stays() -> None:
    mask = disk((200, 300), 100, 100, 30)
    texts = caption_texts(make_result(masks={f"structure {n}": mask for n in range(40)}))
    assert len(texts) <= 12
    assert "result.json" in texts[-2] and "Research tool" in texts[-1]


def test_similarity_brightens_with_the_score_and_has_a_scale() -> None:
    result = make_result((600, 800))
    picture = np.asarray(similarity_picture(result)).astype(int)
    brightness = picture[:600, :800].sum(axis=(1, 2))
    assert brightness[590] > brightness[300] > brightness[10]
    texts = {text: left for text, left, _ in written(similarity_picture, result)}
    assert "Colours: similarity to [SEG] (RVLS2M)" in texts
    assert all(800 < texts[number] < picture.shape[1] for number in ("0", "0.5", "1"))
    bar = picture[14:586, 815:829].sum(axis=(1, 2))
    assert (np.diff(bar) <= 0).mean() > 0.95, "bright at the top"


def test_scale_stays_beside_a_narrow_picture() -> None:
    result = make_result((454, 373))
    width = similarity_picture(result).width
    numbers = [(left, right) for text, left, right in written(similarity_picture, result)[-3:]]
    assert all((width + 373) / 2 - 76 / 2 < left < right <= width for left, right in numbers)


def test_similarity_with_nan_is_still_drawn() -> None:
    result = make_result((600, 800))
    result.similarity[:300] = np.nan
    picture = np.asarray(similarity_picture(result)).astype(int)
    assert picture[100, 100].sum() < picture[590, 700].sum()


def test_parts_of_another_size_are_refused() -> None:
    result = make_result((60, 80), {"tumor": np.ones((60, 80), bool)})
    object.__setattr__(result.findings[0], "mask", np.ones((80, 60), bool))
    with pytest.raises(ValueError, match="does not fit"):
        overlay(result.case, result)
    object.__setattr__(result, "similarity", np.zeros((80, 60), np.float32))
    with pytest.raises(ValueError, match="does not fit"):
        similarity_picture(result)


def test_saved_png_equals_the_picture(tmp_path: Path) -> None:
    picture = overlay((result := make_result()).case, result)
    save_png(picture, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as saved:
        assert np.array_equal(np.array(saved), np.array(picture))


def test_matplotlibs_figures_and_windows_are_not_loaded() -> None:
    program = (
        "import sys, numpy as np\n"
        "sys.path.insert(0, 'Testing/core')\n"
        "from test_rendering import make_result\n"
        "from Sim4SegCore.rendering import overlay, similarity_picture\n"
        "result = make_result()\n"
        "overlay(result.case, result), similarity_picture(result)\n"
        "sys.exit('matplotlib.figure' in sys.modules or 'matplotlib.pyplot' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, timeout=60)
    assert done.returncode == 0
