"""A similarity peak must prompt SAM at the same place of the image, in both modes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from Sim4SegCore.frame import Frame, content_mask
from Sim4SegCore.modeling.rvls2m import PADDING_LOGIT, RVLS2M, MaskPrompt, RVLS2MConfig, standardise
from Sim4SegCore.modeling.sim4seg import FramePair

TOKENS = 16
WIDE, TALL, SQUARE = (100, 300), (300, 100), (200, 200)


@dataclass(frozen=True)
class Setting:
    """LVLM frame of side 256 and some SAM frame of one image."""

    size: tuple[int, int]
    sam: Frame
    prompt_size: int

    @property
    def lvlm(self) -> Frame:
        return Frame.longest_side(self.size, 256)

    @property
    def frames(self) -> FramePair:
        return FramePair.of([self.lvlm], [self.sam], TOKENS, self.prompt_size)

    def prompt(self, similarity: Tensor, **options: object) -> MaskPrompt:
        return prompt(similarity, self.frames, **options)

    def image_point(self, cell: np.ndarray) -> np.ndarray:
        """Image pixel of a cell of the prompt grid."""
        return self.sam.to_image((cell + 0.5) * self.sam.side / self.prompt_size - 0.5)

    @property
    def cell_in_pixels(self) -> float:
        """Pixels of the image per cell of the prompt grid."""
        return self.sam.side / self.prompt_size * self.sam.window[3] / self.sam.content[1]


def prompt(similarity: Tensor, frames: FramePair, **options: object) -> MaskPrompt:
    room = RVLS2M(RVLS2MConfig(**options))  # type: ignore[arg-type]
    return room(similarity, frames.lvlm_valid, frames.theta, frames.sam_valid)


SETTINGS = {
    "the LVLM's own frame": Setting(WIDE, Frame.longest_side(WIDE, 256), 256),
    "SAM of side 1024": Setting(WIDE, Frame.longest_side(WIDE, 1024), 256),
    "a standing image": Setting(TALL, Frame.longest_side(TALL, 1024), 256),
    "a square tile": Setting(WIDE, Frame.of_window((10, 150, 80, 80), 256), 256),
    "a lying tile on a coarse grid": Setting(WIDE, Frame.of_window((20, 90, 60, 180), 256), 64),
}
each_setting = pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)


def tokens_within(setting: Setting) -> list[np.ndarray]:
    """Tokens of the LVLM whose centres lie in SAM's window, well away from its border."""
    top, left, height, width = setting.sam.window
    inside = []
    for token in content_mask(setting.lvlm, TOKENS).nonzero().numpy():
        y, x = token_point(setting, token) - (top, left)
        if 12 < y < height - 12 and 12 < x < width - 12:
            inside.append(token)
    return inside


def token_point(setting: Setting, token: np.ndarray) -> np.ndarray:
    return setting.lvlm.to_image((token + 0.5) * 256 / TOKENS - 0.5)


def bump(token: np.ndarray) -> Tensor:
    points = np.stack(np.indices((TOKENS, TOKENS)), -1)
    return torch.from_numpy(np.exp(-((points - token) ** 2).sum(-1) / 4)).float()[None]


@each_setting
@pytest.mark.parametrize("which", [0, -1], ids=["first", "last"])
def test_soft_peak_lands_on_its_pixel(setting: Setting, which: int) -> None:
    token = tokens_within(setting)[which]
    logits = setting.prompt(bump(token)).logits[0, 0]
    cell = np.array(np.unravel_index(int(logits.argmax()), logits.shape))
    error = np.abs(setting.image_point(cell) - token_point(setting, token))
    assert error.max() <= setting.cell_in_pixels


@each_setting
@pytest.mark.parametrize("which", [0, -1], ids=["first", "last"])
def test_hard_region_lies_around_its_pixel(setting: Setting, which: int) -> None:
    token = tokens_within(setting)[which]
    logits = setting.prompt(bump(token), mode="hard", top_regions=1).logits[0, 0]
    ones = setting.image_point(logits.nonzero().numpy())
    point = token_point(setting, token)
    np.testing.assert_allclose(ones.mean(0), point, atol=setting.cell_in_pixels)
    pitch = 256 / TOKENS * setting.size[1] / setting.lvlm.content[1]
    extent = ones.max(0) - ones.min(0) + setting.cell_in_pixels
    np.testing.assert_allclose(extent, pitch, atol=2 * setting.cell_in_pixels)


@each_setting
@pytest.mark.parametrize(("mode", "padding"), [("soft", PADDING_LOGIT), ("hard", 0.0)])
def test_padding_is_background_even_where_tokens_there_are_loudest(
    setting: Setting, mode: Literal["soft", "hard"], padding: float
) -> None:
    shown = setting.frames.sam_valid[0]
    similarity = torch.where(setting.frames.lvlm_valid, 0.0, 50.0)
    logits = setting.prompt(similarity, mode=mode).logits[0, 0]
    assert (logits[~shown] == padding).all()
    assert shown.sum() == np.prod(
        np.round(np.array(setting.sam.content) / setting.sam.side * setting.prompt_size)
    )


def test_tokens_on_padding_do_not_shift_the_standardisation() -> None:
    setting = SETTINGS["the LVLM's own frame"]
    valid = setting.frames.lvlm_valid
    similarity = torch.randn(1, TOKENS, TOKENS, generator=torch.Generator().manual_seed(0))
    louder = torch.where(valid, similarity, 1e3)
    kept = standardise(similarity, valid)[valid]
    torch.testing.assert_close(standardise(louder, valid)[valid], kept)
    assert abs(float(kept.mean())) < 1e-5
    assert abs(float(kept.std(correction=0)) - 1) < 1e-4


def test_soft_prompt_is_scale_times_standardised_similarity_plus_offset() -> None:
    room = RVLS2M(RVLS2MConfig())
    with torch.no_grad():
        room.scale.fill_(3.0)
        room.offset.fill_(0.5)
    similarity = torch.randn(1, TOKENS, TOKENS, generator=torch.Generator().manual_seed(0))
    same = Frame.longest_side(SQUARE, 256)
    frames = FramePair.of([same], [same], TOKENS, TOKENS)
    logits = room(similarity, frames.lvlm_valid, frames.theta, frames.sam_valid).logits[0, 0]
    expected = 3 * (similarity - similarity.mean()) / similarity.std(correction=0) + 0.5
    torch.testing.assert_close(logits, expected[0], atol=1e-4, rtol=1e-4)


def test_soft_prompt_teaches_similarity_scale_and_offset() -> None:
    room = RVLS2M(RVLS2MConfig())
    frames = SETTINGS["SAM of side 1024"].frames
    similarity = torch.randn(1, TOKENS, TOKENS).requires_grad_()
    logits = room(similarity, frames.lvlm_valid, frames.theta, frames.sam_valid).logits
    logits.square().mean().backward()
    for tensor in (similarity, room.scale, room.offset):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()
        assert tensor.grad.abs().sum() > 0


@pytest.mark.parametrize("level", [0.0, 1e4])
def test_a_flat_similarity_gives_a_flat_finite_prompt(level: float) -> None:
    room = RVLS2M(RVLS2MConfig())
    frames = SETTINGS["the LVLM's own frame"].frames
    similarity = torch.full((1, TOKENS, TOKENS), level).requires_grad_()
    logits = room(similarity, frames.lvlm_valid, frames.theta, frames.sam_valid).logits
    shown = logits[0, 0][frames.sam_valid[0]]
    torch.testing.assert_close(shown, room.offset.expand_as(shown), atol=1e-3, rtol=0)
    logits.sum().backward()
    assert similarity.grad is not None
    assert torch.isfinite(similarity.grad).all()


def test_each_image_of_a_batch_keeps_its_own_geometry() -> None:
    wide, tall = SETTINGS["SAM of side 1024"], SETTINGS["a standing image"]
    together = FramePair.of([wide.lvlm, tall.lvlm], [wide.sam, tall.sam], TOKENS, 256)
    similarity = torch.cat([bump(np.array([2, 9])), bump(np.array([9, 2]))])
    both = prompt(similarity, together).logits
    torch.testing.assert_close(both[:1], wide.prompt(similarity[:1]).logits)
    torch.testing.assert_close(both[1:], tall.prompt(similarity[1:]).logits)


def paper_mask(
    similarity: np.ndarray, regions: int = 16, top: int = 36, side: int = 256
) -> np.ndarray:
    """The paper's words in plain NumPy, for a square image."""
    scaled = (similarity - similarity.min()) / (similarity.max() - similarity.min())
    cell = len(similarity) // regions
    means = scaled.reshape(regions, cell, regions, cell).mean((1, 3))
    mask = np.zeros(regions * regions)
    mask[np.argsort(means.ravel())[-top:]] = 1
    return mask.reshape(regions, regions).repeat(side // regions, 0).repeat(side // regions, 1)


@pytest.mark.parametrize("tokens", [16, 32])
@pytest.mark.parametrize("seed", range(3))
def test_hard_mode_is_the_papers_on_a_square_image(tokens: int, seed: int) -> None:
    similarity = np.random.default_rng(seed).normal(size=(tokens, tokens)).astype(np.float32)
    frame = Frame.longest_side(SQUARE, 256)
    frames = FramePair.of([frame], [frame], tokens, 256)
    logits = prompt(torch.from_numpy(similarity)[None], frames, mode="hard").logits[0, 0].numpy()
    np.testing.assert_array_equal(logits, paper_mask(similarity))
    assert logits.sum() == 36 * 16 * 16


@each_setting
def test_hard_mode_gives_zeros_and_ones_without_gradient(setting: Setting) -> None:
    similarity = torch.randn(1, TOKENS, TOKENS).requires_grad_()
    given = setting.prompt(similarity, mode="hard")
    assert set(given.logits.unique().tolist()) <= {0.0, 1.0}
    assert not given.logits.requires_grad
    assert given.similarity_logits.requires_grad


def test_hard_mode_takes_no_region_of_padding_when_few_show_the_image() -> None:
    frame = Frame.longest_side((30, 300), 256)
    frames = FramePair.of([frame], [frame], TOKENS, 256)
    logits = prompt(torch.rand(1, TOKENS, TOKENS), frames, mode="hard").logits[0, 0]
    assert frames.lvlm_valid.sum() < 36
    torch.testing.assert_close(logits.bool(), frames.sam_valid[0])


def test_similarity_is_the_scaled_dot_product_of_every_token() -> None:
    generator = torch.Generator().manual_seed(0)
    seg = torch.randn(2, 8, generator=generator)
    tokens = torch.randn(2, 3, 3, 8, generator=generator)
    similarity = RVLS2M.similarity(seg, tokens)
    for image, row, column in np.ndindex(2, 3, 3):
        expected = seg[image] @ tokens[image, row, column] / 8**0.5
        torch.testing.assert_close(similarity[image, row, column], expected)


def test_large_embeddings_stay_finite_in_half_precision():
    seg = torch.full((1, 128), 30.0, dtype=torch.float16)
    tokens = torch.full((1, 4, 4, 128), 30.0, dtype=torch.float16)
    found = RVLS2M.similarity(seg, tokens)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.full((1, 4, 4), 900.0 * 128**0.5))


def test_similarity_keeps_its_precision_where_the_rest_is_halved():
    generator = torch.Generator().manual_seed(1)
    seg = torch.randn(2, 64, generator=generator)
    tokens = torch.randn(2, 4, 4, 64, generator=generator)
    exact = RVLS2M.similarity(seg, tokens)
    with torch.autocast("cpu", torch.bfloat16):
        halved = RVLS2M.similarity(seg, tokens)
    assert halved.dtype == torch.float32
    assert torch.equal(exact, halved)
