"""Tiles cover the image, share one scale, and blend back without seams."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from Sim4SegCore.frame import Frame
from Sim4SegCore.tiling import blend, tile_frames

sizes = st.tuples(st.integers(20, 300), st.integers(20, 300))
lenient = settings(deadline=None, max_examples=60)


@lenient
@given(sizes, st.sampled_from([128, 512, 1024]), st.sampled_from([0.0, 0.25, 0.5]))
def test_tiles_cover_the_image_and_stay_inside(
    size: tuple[int, int], detail_side: int, overlap: float
) -> None:
    covered = np.zeros(size, dtype=bool)
    for frame in tile_frames(size, detail_side, 128, overlap):
        top, left, height, width = frame.window
        assert top >= 0
        assert left >= 0
        assert top + height <= size[0]
        assert left + width <= size[1]
        covered[top : top + height, left : left + width] = True
    assert covered.all()


@lenient
@given(sizes, st.sampled_from([512, 1024]), st.sampled_from([0.25, 0.5]))
def test_neighbouring_tiles_share_the_overlap(
    size: tuple[int, int], detail_side: int, overlap: float
) -> None:
    frames = tile_frames(size, detail_side, 128, overlap)
    for axis in (0, 1):
        starts = sorted({frame.window[axis] for frame in frames})
        step = max(np.diff(starts), default=0)
        # Starts are whole pixels, so a step may exceed the exact one by less than a pixel.
        assert step <= frames[0].window[2 + axis] * (1 - overlap) + 1


def test_tiles_have_the_scale_of_the_detail_side() -> None:
    frames = tile_frames((100, 400), detail_side=1024, tile=256, overlap=0.25)
    assert {frame.window[2:] for frame in frames} == {(100, 100)}
    assert all(frame.content == (256, 256) for frame in frames)
    assert len(frames) == 5


def test_an_image_of_the_tiles_scale_is_one_tile() -> None:
    frames = tile_frames((50, 80), detail_side=256, tile=256, overlap=0.25)
    assert frames == [Frame.longest_side((50, 80), 256)]


@lenient
@given(sizes, st.sampled_from([128, 300]))
def test_blending_equal_tiles_changes_nothing(size: tuple[int, int], detail_side: int) -> None:
    frames = tile_frames(size, detail_side, 64, 0.25)
    maps = torch.full((len(frames), 1, 16, 16), -3.0)
    torch.testing.assert_close(blend(frames, maps, size), torch.full(size, -3.0))


@pytest.mark.parametrize("size", [(90, 210), (210, 90), (120, 120)])
def test_blended_tiles_agree_with_the_image_they_show(size: tuple[int, int]) -> None:
    frames = tile_frames(size, detail_side=256, tile=64, overlap=0.25)
    y, x = np.indices(size)
    image = torch.from_numpy(0.5 * y + 2 * x).float()
    maps = torch.stack([frame.apply(image[None]) for frame in frames])
    inside = (slice(3, -3), slice(3, -3))
    error = (blend(frames, maps, size) - image)[inside].abs().max()
    assert error < 0.5


def test_a_tiles_border_counts_less_than_a_neighbours_centre() -> None:
    frames = [Frame.of_window((0, 0, 40, 40), 40), Frame.of_window((0, 20, 40, 40), 40)]
    maps = torch.stack([torch.zeros(1, 40, 40), torch.ones(1, 40, 40)])
    row = blend(frames, maps, (40, 60))[20]
    assert row[21] < 0.2
    assert row[38] > 0.8
    assert (row[20:40].diff() > 0).all()
