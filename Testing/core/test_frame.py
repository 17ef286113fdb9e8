"""One transform between image, LVLM and SAM: it must hold for every aspect ratio and window."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from segment_anything.utils.transforms import ResizeLongestSide

from Sim4SegCore.frame import Frame, content_mask, relative_affine

REPOSITORY = Path(__file__).resolve().parents[2]
lenient = settings(deadline=None, max_examples=60)


@st.composite
def image_sizes(draw: st.DrawFn, longest: int = 600) -> tuple[int, int]:
    """(height, width) from square to 10:1, lying or standing."""
    long = draw(st.integers(20, longest))
    short = draw(st.integers(max(2, -(-long // 10)), long))
    return (short, long) if draw(st.booleans()) else (long, short)


@st.composite
def frames(draw: st.DrawFn, size: tuple[int, int] | None = None) -> Frame:
    """The whole image or a window of it, in a model's square of some side."""
    height, width = size or draw(image_sizes())
    side = draw(st.sampled_from([32, 64, 100, 256]))
    mirrored = draw(st.booleans()), draw(st.booleans())
    if draw(st.booleans()):
        return Frame.longest_side((height, width), side).mirror(*mirrored)
    rows, columns = draw(st.integers(2, height)), draw(st.integers(2, width))
    assume(max(rows, columns) <= 10 * min(rows, columns))
    top, left = draw(st.integers(0, height - rows)), draw(st.integers(0, width - columns))
    return Frame.of_window((top, left, rows, columns), side).mirror(*mirrored)


@st.composite
def frame_pairs(draw: st.DrawFn) -> tuple[Frame, Frame]:
    """Two frames of one image."""
    size = draw(image_sizes())
    return draw(frames(size)), draw(frames(size))


def window_point(frame: Frame, fraction: tuple[float, float]) -> np.ndarray:
    """A point of the window; fractions of its height and width."""
    top, left, height, width = frame.window
    return np.array([top + fraction[0] * (height - 1), left + fraction[1] * (width - 1)])


fractions = st.tuples(st.floats(0, 1), st.floats(0, 1))


@lenient
@given(frames(), fractions)
def test_to_image_inverts_to_model(frame: Frame, fraction: tuple[float, float]) -> None:
    point = window_point(frame, fraction)
    np.testing.assert_allclose(frame.to_image(frame.to_model(point)), point, atol=1e-9)


@lenient
@given(frames(), fractions)
def test_points_of_the_window_land_on_content_not_on_padding(
    frame: Frame, fraction: tuple[float, float]
) -> None:
    model = frame.to_model(window_point(frame, fraction))
    assert (model >= -0.5).all()
    assert (model <= np.array(frame.content) - 0.5).all()
    assert max(frame.content) == frame.side


@pytest.mark.parametrize("size", [(90, 270), (270, 90)], ids=["3:1", "1:3"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
@pytest.mark.parametrize("pixel", [(20, 30), (70, 60), (45, 45)])
@pytest.mark.parametrize("mirrored", [(False, False), (False, True), (True, False)])
def test_a_blob_lands_where_to_model_says(
    size: tuple[int, int],
    dtype: torch.dtype,
    pixel: tuple[int, int],
    mirrored: tuple[bool, bool],
) -> None:
    y, x = pixel if size[0] < size[1] else pixel[::-1]
    image = torch.zeros(3, *size, dtype=dtype)
    image[:, y - 4 : y + 5, x - 4 : x + 5] = 250
    frame = Frame.longest_side(size, 96).mirror(*mirrored)
    seen = frame.apply(image)
    assert seen.dtype == dtype
    np.testing.assert_allclose(centroid(seen[0]), frame.to_model(np.array([y, x])), atol=0.1)


def centroid(values: torch.Tensor) -> np.ndarray:
    weights = values.double().numpy()
    points = np.stack(np.indices(weights.shape), -1)
    return (points * weights[..., None]).sum((0, 1)) / weights.sum()


def test_a_window_is_cut_before_it_is_resized() -> None:
    image = torch.zeros(1, 100, 200)
    image[:, 58:63, 148:153] = 1
    frame = Frame.of_window((40, 120, 40, 60), 120)
    seen = frame.apply(image)[0]
    assert frame.content == (80, 120)
    np.testing.assert_allclose(centroid(seen), frame.to_model(np.array([60, 150])), atol=0.05)
    assert not seen[80:].any()


@pytest.mark.parametrize("size", [(90, 270), (271, 90), (64, 64), (33, 50)])
def test_apply_resizes_as_segment_anything_does(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    frame = Frame.longest_side(size, 96)
    ours = frame.apply(torch.from_numpy(pixels).permute(2, 0, 1)).permute(1, 2, 0).numpy()
    theirs = ResizeLongestSide(96).apply_image(pixels)
    assert theirs.shape[:2] == frame.content
    shown = ours[: frame.content[0], : frame.content[1]].astype(int)
    assert np.abs(shown - theirs).max() <= 1


@lenient
@given(frames(), st.sampled_from([16, 25, 64]), st.data())
def test_invert_puts_a_peak_back_on_its_pixel(
    frame: Frame, cells: int, data: st.DataObject
) -> None:
    pitch = frame.side / cells
    shown = content_mask(frame, cells).nonzero().numpy()
    peak = shown[data.draw(st.integers(0, len(shown) - 1))]
    points = np.stack(np.indices((cells, cells)), -1)
    values = torch.from_numpy(-np.abs(points - peak).astype(np.float32).sum(-1))
    back = frame.invert(values[None, None])[0, 0]
    assert back.shape == frame.window[2:]
    # Pixels outside the first and last cells' centres share the border cell's value.
    highest = (back >= back.max() - 1e-4).nonzero().numpy() + frame.window[:2]
    expected = frame.to_image((peak + 0.5) * pitch - 0.5)
    assert np.abs(highest - expected).max(1).min() <= 1


@lenient
@given(frames(), st.sampled_from([16, 25, 64]))
def test_invert_never_leaks_padding(frame: Frame, cells: int) -> None:
    shown = content_mask(frame, cells)
    values = torch.where(shown, 1.0, 1e3)
    torch.testing.assert_close(
        frame.invert(values[None, None])[0, 0], torch.ones(frame.window[2:]), atol=1e-2, rtol=0
    )


@lenient
@given(frames(), st.integers(4, 40), st.integers(0, 10**6), st.sampled_from([0.0, 1.5, 9.0]))
def test_invert_above_is_where_invert_is_above(
    frame: Frame, cells: int, seed: int, least: float
) -> None:
    values = torch.randn(2, 1, cells, cells, generator=torch.Generator().manual_seed(seed))
    back = frame.invert(values)
    found = frame.invert_above(values, least)
    assert found.dtype == torch.bool and found.shape == back.shape
    clear = (back - least).abs() > 1e-5
    assert torch.equal(found[clear], (back > least)[clear])


def test_invert_keeps_batch_and_channels_apart() -> None:
    frame = Frame.longest_side((30, 60), 64)
    values = torch.arange(6.0).view(2, 3, 1, 1).expand(2, 3, 16, 16)
    back = frame.invert(values)
    torch.testing.assert_close(back, torch.arange(6.0).view(2, 3, 1, 1).expand(2, 3, 30, 60))


@lenient
@given(frame_pairs(), fractions)
def test_relative_affine_goes_through_the_image(
    pair: tuple[Frame, Frame], fraction: tuple[float, float]
) -> None:
    source, target = pair
    point = np.array(fraction) * target.side - 0.5
    normalised = (point[::-1] + 0.5) * 2 / target.side - 1
    theta = relative_affine(source, target).double().numpy()
    moved = (theta @ [*normalised, 1.0])[::-1]
    expected = source.to_model(target.to_image(point))
    scale = 1 + np.abs(expected).max()
    np.testing.assert_allclose((moved + 1) * source.side / 2 - 0.5, expected, atol=1e-4 * scale)


@pytest.mark.parametrize("size", [(100, 300), (300, 100), (200, 200)])
def test_grid_sample_with_relative_affine_resamples_between_frames(size: tuple[int, int]) -> None:
    source = Frame.longest_side(size, 64)
    target = Frame.of_window((20, 30, 60, 50), 128)
    points = np.stack(np.indices((64, 64)), -1)
    where = torch.from_numpy(source.to_image(points)).permute(2, 0, 1).float()
    theta = relative_affine(source, target)[None]
    grid = F.affine_grid(theta, [1, 1, 128, 128], align_corners=False)
    moved = F.grid_sample(where[None], grid, align_corners=False)[0]
    rows, columns = target.content
    expected = target.to_image(np.stack(np.indices((rows, columns)), -1))
    np.testing.assert_allclose(
        moved[:, :rows, :columns].permute(1, 2, 0).numpy(), expected, atol=1e-3
    )


@lenient
@given(frames(), st.sampled_from([16, 25, 64]))
def test_content_mask_shows_cells_whose_centre_lies_in_the_window(frame: Frame, cells: int) -> None:
    mirrored = content_mask(frame, cells)
    frame = frame.mirror(*frame.mirrored)
    np.testing.assert_array_equal(content_mask(frame, cells), mirrored)
    centres = (np.stack(np.indices((cells, cells)), -1) + 0.5) * frame.side / cells - 0.5
    top, left, height, width = frame.window
    points = frame.to_image(centres) - (top, left) + 0.5
    inside = ((points > -1e-6) & (points < np.array([height, width]) - 1e-6)).all(-1)
    # An image thinner than half a cell is still shown by its first row or column of cells.
    inside |= (np.indices((cells, cells)) == 0)[0] & inside_along(points, width, 1)
    inside |= (np.indices((cells, cells)) == 0)[1] & inside_along(points, height, 0)
    np.testing.assert_array_equal(content_mask(frame, cells).numpy(), inside)


def inside_along(points: np.ndarray, length: int, axis: int) -> np.ndarray:
    return points[..., axis] < length - 1e-6


@pytest.mark.parametrize("size", [(2, 600), (600, 2)])
def test_even_a_line_of_pixels_is_seen_by_some_cell(size: tuple[int, int]) -> None:
    frame = Frame.longest_side(size, 256)
    assert content_mask(frame, 16).sum() == 16


def test_importing_the_package_loads_no_heavy_library() -> None:
    code = (
        "import sys, Sim4SegCore; "
        "print([m for m in ('torch', 'transformers', 'matplotlib') if m in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True
    )
    assert ran.stdout.strip() == "[]"
