"""Pages that show every answer, and say where there is none."""

import numpy as np
import pytest
from batch_helpers import draw
from PIL import Image

from Sim4SegCore import lettering
from Sim4SegCore.batch import contact_sheet, thumbnail
from Sim4SegCore.batch.contact_sheet import GAP, HEADER
from Sim4SegCore.case import Case, Diagnosis, Finding, Geometry, ModelIdentity, Query, Result

QUERY = "Is there a lesion?"


def result_with(mask, geometry=None):
    image = np.full((*mask.shape, 3), 120, np.uint8)
    return Result(
        case=Case(image, geometry),
        query=Query(QUERY),
        diagnosis=Diagnosis(None, 0.0),
        reasoning="",
        findings=(Finding("lesion", bool(mask.any()), 0.9, mask, {}),),
        similarity=np.zeros(mask.shape, np.float32),
        model=ModelIdentity("m", "s", "r"),
    )


def coloured(picture):
    """Pixels that are no longer grey, bool (H, W)."""
    pixels = np.asarray(picture).astype(int)
    return np.ptp(pixels, axis=2) > 60


def test_a_finding_is_outlined_where_it_is():
    mask = np.zeros((200, 300), bool)
    mask[50:150, 200:280] = True
    shown = coloured(thumbnail.draw_thumbnail(result_with(mask)))
    scale = thumbnail.SIDE / 300
    rows, columns = np.nonzero(shown)
    assert rows.min() == pytest.approx(50 * scale, abs=3)
    assert rows.max() == pytest.approx(150 * scale, abs=3)
    assert columns.min() == pytest.approx(200 * scale, abs=3)
    assert columns.max() == pytest.approx(280 * scale, abs=3)
    assert not shown[round(100 * scale), round(240 * scale)]


def test_vessels_stay_visible_and_empty_masks_leave_the_image_bare():
    vessel = np.zeros((1200, 1200), bool)
    vessel[600:604] = True
    assert coloured(thumbnail.draw_thumbnail(result_with(vessel))).any(axis=0).all()
    assert not coloured(thumbnail.draw_thumbnail(result_with(np.zeros((9, 9), bool)))).any()


def test_thumbnails_keep_physical_proportions():
    identity = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    geometry = Geometry((1.0, 2.0, 5.0), (0.0, 0.0, 0.0), identity)
    picture = thumbnail.draw_thumbnail(result_with(np.zeros((50, 100), bool), geometry))
    assert picture.size == (thumbnail.SIDE, thumbnail.SIDE)


def test_pages_hold_all_cells_and_old_pages_go(tmp_path, batch, monkeypatch):
    cohort, out = tmp_path / "cohort", tmp_path / "out"
    for number in range(14):
        draw(cohort / f"{number:02d}.png", number)
    (cohort / "05.png").write_bytes(b"broken")
    assert batch(cohort, "--query", QUERY)[0] == 3
    pages = sorted(out.glob("contact_sheet_*.png"))
    assert [page.name for page in pages] == ["contact_sheet_001.png", "contact_sheet_002.png"]
    first = np.asarray(Image.open(pages[0]))
    # Noise fills the cell of an answer; that of a failure is one plain surface with words.
    cells = [cell_of(first, number) for number in range(12)]
    plain = [(cell == np.array(contact_sheet.CELL_BACKGROUND)).all(axis=2).mean() for cell in cells]
    assert [share > 0.7 for share in plain] == [number == 5 for number in range(12)]
    for number in range(10, 14):
        (cohort / f"{number}.png").unlink()
    assert batch(cohort, "--query", QUERY)[0] == 3
    assert len(list(out.glob("contact_sheet_*.png"))) == 1


def cell_of(page, number):
    side = thumbnail.SIDE
    left = GAP + number % contact_sheet.COLUMNS * (side + GAP)
    top = HEADER + number // contact_sheet.COLUMNS * (side + contact_sheet.CAPTION + GAP)
    return page[top : top + side, left : left + side]


def test_large_cohorts_are_shown_in_part(tmp_path, batch, monkeypatch):
    monkeypatch.setattr(contact_sheet, "MAX_CELLS", 12)
    for number in range(14):
        draw(tmp_path / "cohort" / f"{number:02d}.png", number)
    batch(tmp_path / "cohort", "--query", QUERY)
    assert len(list((tmp_path / "out").glob("contact_sheet_*.png"))) == 1


def test_long_names_keep_both_ends():
    short = lettering.fit("site-0001/" + "x" * 200 + "/image-7.png", 300, 14)
    assert short.startswith("site-0001") and short.endswith("image-7.png") and "…" in short
    assert lettering.font(14).getlength(short) <= 300
