"""Outlines and mask files become the right pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layouts import BOX, SIZE, boxes, mask_file
from matplotlib.path import Path as Outline
from PIL import Image

from training.m3ds.masks import CaseError, CroppedMask, MaskFile, Polygon, shrink_mask, unite
from training.m3ds.yolo import format_labels, read_labels

# Powers of two, so that dividing by them and multiplying again changes no bit.
WIDTH, HEIGHT = 64, 32
GRID = 0.25


@st.composite
def outlines(draw, least=3, most=8):
    x = st.integers(0, round(WIDTH / GRID)).map(lambda n: n * GRID)
    y = st.integers(0, round(HEIGHT / GRID)).map(lambda n: n * GRID)
    return tuple(draw(st.lists(st.tuples(x, y), min_size=least, max_size=most, unique=True)))


@given(outlines(most=3))
def test_triangles_agree_with_matplotlib(points):
    inside = Outline(points)
    columns, rows = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    centres = np.stack([columns.ravel(), rows.ravel()], axis=1)
    surely_in = inside.contains_points(centres, radius=-1e-6) & inside.contains_points(
        centres, radius=1e-6
    )
    surely_out = ~inside.contains_points(centres, radius=-1e-6) & ~inside.contains_points(
        centres, radius=1e-6
    )
    mask = Polygon(points).rasterise((WIDTH, HEIGHT)).ravel()
    if surely_in.any():
        assert mask[surely_in].all()
        assert not mask[surely_out].any()


@given(outlines())
def test_an_outline_is_never_lost_and_turning_it_round_changes_nothing(points):
    mask = Polygon(points).rasterise((WIDTH, HEIGHT))
    assert mask.shape == (HEIGHT, WIDTH)
    assert mask.any()
    if Polygon(points).area > 4:
        np.testing.assert_array_equal(mask, Polygon(points[::-1]).rasterise((WIDTH, HEIGHT)))


@given(st.lists(outlines(), min_size=1, max_size=3))
def test_yolo_round_trip(tmp_path_factory, shapes):
    path = tmp_path_factory.mktemp("labels") / "a.txt"
    scale = (1 / WIDTH, 1 / HEIGHT)
    labels = [
        (n, Polygon(tuple((x * scale[0], y * scale[1]) for x, y in shape), normalised=True))
        for n, shape in enumerate(shapes)
    ]
    path.write_text(format_labels(labels))
    read = read_labels(path)
    assert read == labels
    np.testing.assert_array_equal(
        unite([outline for _, outline in read], (WIDTH, HEIGHT)),
        unite([Polygon(shape) for shape in shapes], (WIDTH, HEIGHT)),
    )


def test_boxes_are_filled_exactly():
    left, top, right, bottom = BOX
    points = ((left, top), (right, top), (right, bottom), (left, bottom))
    np.testing.assert_array_equal(Polygon(points).rasterise(SIZE), boxes(BOX))


def test_a_hairline_keeps_the_pixels_under_it():
    mask = Polygon(((2.0, 2.0), (12.0, 2.0), (12.0, 2.1))).rasterise(SIZE)
    assert mask[2, 2:12].all()
    assert mask.sum() <= 12


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        (((1, 1), (5, 5)), "fewer than three"),
        (((1, 1), (5, 5), (float("nan"), 2)), "fewer than three usable"),
        (((1, 1), (900, 5), (3, 9)), "beyond its image"),
    ],
)
def test_unusable_outlines_say_so(points, reason):
    with pytest.raises(CaseError, match=reason):
        Polygon(points).rasterise(SIZE)


def test_an_outline_of_another_image_is_refused():
    with pytest.raises(CaseError, match="another size"):
        Polygon(((1, 1), (9, 1), (9, 9)), drawn_on=(48, 64)).rasterise(SIZE)


@pytest.mark.parametrize("line", ["0 0.1 0.2 0.3", "x 0.1 0.2 0.3 0.4 0.5 0.6", "0 1 2 3 4 5 6 7"])
def test_broken_label_lines_say_so(tmp_path, line):
    (tmp_path / "a.txt").write_text(line)
    with pytest.raises(CaseError, match="neither outline nor box"):
        read_labels(tmp_path / "a.txt")


@pytest.mark.parametrize("high", [1, 57, 255])
def test_any_one_colour_on_black_is_a_mask(tmp_path, high):
    Image.fromarray(boxes(BOX).astype(np.uint8) * high).save(tmp_path / "m.png")
    np.testing.assert_array_equal(MaskFile(tmp_path / "m.png").rasterise(SIZE), boxes(BOX))


@pytest.mark.parametrize("suffix", ["png", "gif", "tif", "bmp"])
def test_mask_formats(tmp_path, suffix):
    mask_file(tmp_path / f"m.{suffix}", BOX)
    np.testing.assert_array_equal(MaskFile(tmp_path / f"m.{suffix}").rasterise(SIZE), boxes(BOX))


def test_label_numbers_and_photographs_are_no_masks(tmp_path):
    numbers = boxes(BOX).astype(np.uint8)
    numbers[40:] = 2
    photograph = np.random.default_rng(0).integers(0, 256, numbers.shape, np.uint8)
    for pixels in (numbers, photograph):
        Image.fromarray(pixels).save(tmp_path / "m.png")
        with pytest.raises(CaseError, match="several values"):
            MaskFile(tmp_path / "m.png").rasterise(SIZE)


def test_a_crop_beyond_its_image_is_refused(tmp_path):
    mask_file(tmp_path / "m.png", (0, 0, 9, 9), size=(9, 9))
    assert CroppedMask(tmp_path / "m.png", 39, 55).rasterise(SIZE)[39:, 55:].all()
    with pytest.raises(CaseError, match="beyond its image"):
        CroppedMask(tmp_path / "m.png", 40, 55).rasterise(SIZE)


@given(st.integers(1, 6), st.integers(0, 5), st.integers(20, 200))
def test_shrinking_keeps_the_area_of_thin_lines(thickness, offset, side):
    mask = np.zeros((240, 320), bool)
    mask[100 + offset : 100 + offset + thickness] = True
    size = (side, round(side * 0.75))
    small = shrink_mask(mask, size)
    assert small.shape == (size[1], size[0])
    assert small.any(axis=0).all()
    rows = max(1.0, thickness * size[1] / 240)
    assert small.sum() / size[0] <= 2 * rows + 1
