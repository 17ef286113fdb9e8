"""The segmenter is segment-anything, batched: same weights, same masks, published files load."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import MaskDecoder, Sam, TwoWayTransformer
from segment_anything.modeling.transformer import Attention
from tiny import (
    OWN_ENCODER,
    OWN_VIT,
    QUERY,
    SHARED_ENCODER,
    SIDE,
    answer,
    compact_model,
    framed,
    picture,
    small_sam,
    spread_weights,
)
from tiny import small_sam_registered as registered
from torch import Tensor, nn

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.frame import Frame
from Sim4SegCore.modeling.image_embedding import ImageEmbedding
from Sim4SegCore.modeling.prompt_attention import PromptAttention, lay_out_attention
from Sim4SegCore.modeling.segmenter import (
    PairedMaskDecoder,
    Segmenter,
    SegmenterConfig,
    build_segmenter,
    load_sam_checkpoint,
)
from Sim4SegCore.modeling.sim4seg import ImageTokens, Sim4SegModel

WIDTH, GRID = OWN_VIT.embed_dim, SIDE // 16


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def segmenter() -> Segmenter:
    torch.manual_seed(0)
    with registered():
        return build_segmenter(OWN_VIT, None).eval().requires_grad_(False)


@pytest.fixture
def sam() -> Sam:
    torch.manual_seed(1)
    return small_sam().requires_grad_(False)


@pytest.fixture
def sam_file(sam: Sam, tmp_path: Path) -> Path:
    torch.save(sam.state_dict(), tmp_path / "sam_vit_b.pth")
    return tmp_path / "sam_vit_b.pth"


@torch.no_grad()
def test_decoder_equals_segment_anythings_for_one_image() -> None:
    torch.manual_seed(0)
    transformer = TwoWayTransformer(depth=2, embedding_dim=WIDTH, num_heads=4, mlp_dim=64)
    theirs = MaskDecoder(transformer_dim=WIDTH, transformer=transformer).eval()
    ours = PairedMaskDecoder(transformer_dim=WIDTH, transformer=transformer).eval()
    ours.load_state_dict(theirs.state_dict())
    inputs = {
        "image_embeddings": random(1, WIDTH, 4, 5),
        "image_pe": random(1, WIDTH, 4, 5, seed=1),
        "sparse_prompt_embeddings": random(1, 3, WIDTH, seed=2),
        "dense_prompt_embeddings": random(1, WIDTH, 4, 5, seed=3),
    }
    for mine, original in zip(
        ours.predict_masks(**inputs), theirs.predict_masks(**inputs), strict=True
    ):
        torch.testing.assert_close(mine, original, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("with_fine", [False, True])
def test_a_batch_of_two_images_equals_two_single_calls(
    with_fine: bool, segmenter: Segmenter
) -> None:
    coarse, fine = random(2, WIDTH, GRID, GRID), random(2, WIDTH // 4, 2 * GRID, 2 * GRID, seed=3)
    seg, prompt = random(2, 1, WIDTH, seed=1), random(2, 1, 4 * GRID, 4 * GRID, seed=2)
    both = segmenter(ImageEmbedding(coarse, fine if with_fine else None), seg, prompt)
    for row in range(2):
        one = slice(row, row + 1)
        embedding = ImageEmbedding(coarse[one], fine[one] if with_fine else None)
        alone = segmenter(embedding, seg[one], prompt[one])
        torch.testing.assert_close(both.mask_logits[one], alone.mask_logits, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(both.iou[one], alone.iou, atol=1e-5, rtol=1e-5)


def test_without_mask_prompt_a_batch_uses_sams_no_mask(segmenter: Segmenter) -> None:
    coarse, seg = random(2, WIDTH, GRID, GRID), random(2, 1, WIDTH, seed=1)
    embedding = ImageEmbedding(coarse)
    both = segmenter(embedding, seg, None)
    alone = segmenter(ImageEmbedding(coarse[1:]), seg[1:], None)
    torch.testing.assert_close(both.mask_logits[1:], alone.mask_logits, atol=1e-5, rtol=1e-5)
    prompted = segmenter(embedding, seg, torch.zeros(2, 1, 4 * GRID, 4 * GRID))
    assert (prompted.mask_logits - both.mask_logits).abs().max() > 1e-4


def test_masks_have_the_prompts_size(segmenter: Segmenter) -> None:
    size = segmenter.config.prompt_size
    embedding = ImageEmbedding(random(2, WIDTH, GRID, GRID))
    given = segmenter(embedding, random(2, 1, WIDTH), None)
    assert given.mask_logits.shape == (2, 4, size, size)
    assert given.iou.shape == (2, 4)


def test_seg_embedding_and_mask_prompt_change_the_mask(segmenter: Segmenter) -> None:
    embedding = ImageEmbedding(random(1, WIDTH, GRID, GRID))
    prompt = random(1, 1, 4 * GRID, 4 * GRID)
    seg = random(1, 1, WIDTH)
    base = segmenter(embedding, seg, prompt).mask_logits
    assert (segmenter(embedding, -seg, prompt).mask_logits - base).abs().max() > 1e-3
    assert (segmenter(embedding, seg, -prompt).mask_logits - base).abs().max() > 1e-3


def wide_image_with_black_parts() -> np.ndarray:
    """uint8 (24, 64, 3); as long as SAM's side, so that no resampling enters the comparison."""
    image = picture(0, 24, SIDE).permute(1, 2, 0).numpy().copy()
    image[4:12, 10:30] = 0
    image[:, 56:] = 0
    return image


@pytest.mark.parametrize("kind", ["llava"])
def test_a_published_file_gives_segment_anythings_embedding_and_mask(
    kind: str, models: dict[str, Sim4SegModel], sam: Sam, sam_file: Path
) -> None:
    model = models[kind]
    before = {name: value.clone() for name, value in model.segmenter.state_dict().items()}
    load_sam_checkpoint(model.segmenter, sam_file)
    try:
        check_against_sam(model, sam)
    finally:
        model.segmenter.load_state_dict(before)


def check_against_sam(model: Sim4SegModel, sam: Sam) -> None:
    image = wide_image_with_black_parts()
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    frame = Frame.longest_side(image.shape[:2], SIDE)
    framed = frame.apply(torch.from_numpy(image).permute(2, 0, 1))[None]
    ours = model.sam_embedding(framed, None, torch.tensor([frame.content]))
    torch.testing.assert_close(ours.coarse, predictor.get_image_embedding(), atol=1e-4, rtol=1e-4)

    prompt = random(1, 4 * GRID, 4 * GRID)
    masks, iou, low = predictor.predict(
        mask_input=prompt.numpy(), multimask_output=False, return_logits=True
    )
    no_seg = torch.zeros(1, 0, WIDTH)
    given = model.segmenter(ours, no_seg, prompt[None])
    np.testing.assert_allclose(given.mask_logits[0, :1].numpy(), low, atol=1e-4)
    np.testing.assert_allclose(given.iou[0, :1].numpy(), iou, atol=1e-4)
    on_image = frame.invert(given.mask_logits[:, :1])[0, 0].numpy()
    inner = (slice(2, -4), slice(2, -4))
    np.testing.assert_allclose(on_image[inner], masks[0][inner], atol=1e-3)


def damaged(path: Path, how: str) -> None:
    state = torch.load(path, weights_only=True)
    if how == "missing tensor":
        state.pop("mask_decoder.iou_token.weight")
    elif how == "another size":
        name = "image_encoder.neck.0.weight"
        state[name] = state[name][:, :4].clone()
    elif how == "not a dictionary":
        state = [1, 2]
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:1000])
    elif how == "no torch file":
        path.write_text("not found")
    elif how == "no file":
        path.unlink()
    else:
        torch.save(state, path)


@pytest.mark.parametrize(
    "how",
    [
        "missing tensor",
        "another size",
        "not a dictionary",
        "truncated",
        "no torch file",
        "no file",
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line(
    how: str, segmenter: Segmenter, sam_file: Path
) -> None:
    damaged(sam_file, how)
    with pytest.raises(Sim4SegError) as caught:
        load_sam_checkpoint(segmenter, sam_file)
    message = str(caught.value)
    assert "\n" not in message
    assert "sam_vit_b.pth" in message


def test_sharing_needs_a_tower_that_shares() -> None:
    with pytest.raises(Sim4SegError, match="vit_b"):
        build_segmenter(SegmenterConfig(encoder="shared"), None)


@torch.no_grad()
def test_a_shared_tower_sees_the_same_pixels_once_or_twice(compact: Sim4SegModel) -> None:
    lvlm_image, sam_image, _ = framed(compact, picture(0))
    vision = compact.lvlm.see(lvlm_image)
    reused, own = compact.sam_embedding(None, vision), compact.sam_embedding(sam_image, None)
    torch.testing.assert_close(reused.coarse, own.coarse)


def test_new_fine_features_do_not_disturb_the_masks_yet() -> None:
    torch.manual_seed(0)
    config = SegmenterConfig(image_size=SIDE, embed_dim=WIDTH, embedding_stride=8)
    segmenter = build_segmenter(config, [8, 16, 16, 16]).requires_grad_(False)
    maps = tuple(
        random(1, w, SIDE // s, SIDE // s) for w, s in ((8, 4), (16, 8), (16, 16), (16, 32))
    )
    embedding = segmenter.image_encoder(maps)
    seg = random(1, 1, WIDTH)
    with_fine = segmenter(embedding, seg, None).mask_logits
    without = segmenter(ImageEmbedding(embedding.coarse), seg, None).mask_logits
    torch.testing.assert_close(with_fine, without)
    segmenter.image_encoder.fine.weight.normal_()
    changed = segmenter(segmenter.image_encoder(maps), seg, None).mask_logits
    assert (changed - without).abs().max() > 1e-3


def test_rows_of_a_batch_take_another_embedding() -> None:
    one = ImageEmbedding(torch.zeros(3, 4, 2, 2), torch.zeros(3, 1, 4, 4))
    other = ImageEmbedding(torch.ones(1, 4, 2, 2), torch.ones(1, 1, 4, 4))
    mixed = one.with_rows(torch.tensor([1]), other)
    assert mixed.fine is not None
    for values in (mixed.coarse, mixed.fine):
        assert values.flatten(1).amax(1).tolist() == [0, 1, 0]
        assert values.flatten(1).amin(1).tolist() == [0, 1, 0]


@torch.no_grad()
def test_the_seg_state_decides_the_mask_of_the_whole_model(compact: Sim4SegModel) -> None:
    lvlm_image, _, frames = framed(compact, picture(0))
    vision = compact.lvlm.see(lvlm_image)
    embedding = compact.sam_embedding(None, vision)
    prefix = torch.tensor([compact.lvlm.prefix_ids(vision)])
    states, _ = compact.lvlm.hidden_states(prefix, vision)
    tokens = compact.image_tokens(vision, states[:, -(vision.token_grid[0] ** 2) :])
    seg = answer(compact, picture(0), QUERY).seg_state[None]
    one, other = (compact.ground(s, tokens, embedding, frames) for s in (seg, -seg))
    assert (one.mask_logits - other.mask_logits).abs().max() > 1e-3
    assert (one.prompt.logits - other.prompt.logits).abs().max() > 1e-3


def test_model_without_mask_prompt_ignores_the_similarity() -> None:
    from Sim4SegCore.modeling.rvls2m import RVLS2MConfig

    ablated = compact_model(rvls2m=RVLS2MConfig(mode="none"))
    lvlm_image, _, frames = framed(ablated, picture(0))
    with torch.no_grad():
        embedding = ablated.sam_embedding(None, ablated.lvlm.see(lvlm_image))
        seg = random(1, ablated.lvlm.hidden_size)
        features = random(1, 16, ablated.lvlm.hidden_size)
        embeddings = random(1, 4, 4, WIDTH)
        one, other = (
            ablated.ground(seg, ImageTokens(features, e), embedding, frames)
            for e in (embeddings, -embeddings)
        )
    torch.testing.assert_close(one.mask_logits, other.mask_logits)


@torch.no_grad()
def test_masks_without_a_prompt_do_not_see_the_similarity(compact: Sim4SegModel) -> None:
    lvlm_image, _, frames = framed(compact, picture(0))
    embedding = compact.sam_embedding(None, compact.lvlm.see(lvlm_image))
    seg = random(1, compact.lvlm.hidden_size)
    features = random(1, 16, compact.lvlm.hidden_size)
    embeddings = random(1, 4, 4, WIDTH)

    def masks(sign: int, prompted: float) -> Tensor:
        tokens = ImageTokens(features, sign * embeddings)
        given = compact.ground(seg, tokens, embedding, frames, torch.tensor([prompted]))
        return given.mask_logits

    torch.testing.assert_close(masks(1, 0.0), masks(-1, 0.0))
    assert (masks(1, 1.0) - masks(-1, 1.0)).abs().max() > 1e-3
    tokens = ImageTokens(features, embeddings)
    everyone = compact.ground(seg, tokens, embedding, frames).mask_logits
    torch.testing.assert_close(everyone, masks(1, 1.0))


def test_the_query_steers_the_image_once_that_was_trained() -> None:
    torch.manual_seed(0)
    steered = build_segmenter(replace(SHARED_ENCODER, query_conditioning=True), [8, 16, 16, 16])
    plain = build_segmenter(SHARED_ENCODER, [8, 16, 16, 16])
    missing, unknown = plain.load_state_dict(steered.state_dict(), strict=False)
    assert not missing
    assert all("conditioning" in name for name in unknown)
    channels = SHARED_ENCODER.embed_dim
    image = ImageEmbedding(random(1, channels, 16, 16), random(1, channels // 4, 32, 32, seed=1))
    first, second = random(1, 1, channels, seed=2), random(1, 1, channels, seed=3)
    torch.testing.assert_close(
        steered(image, first, None).mask_logits, plain(image, first, None).mask_logits
    )
    spread_weights(steered.mask_decoder.conditioning)
    with torch.no_grad():
        for block in steered.mask_decoder.conditioning.children():
            block.second.weight.normal_()
    conditioning = steered.mask_decoder.conditioning
    seen = [conditioning.steer(image.coarse, (), query[:, 0]) for query in (first, second)]
    assert (seen[0] - image.coarse).abs().max() > 0.1
    assert (seen[0] - seen[1]).abs().max() > 0.1
    assert (
        steered(image, first, None).mask_logits - plain(image, first, None).mask_logits
    ).abs().max() > 1e-3


@pytest.fixture
def own_encoder() -> Segmenter:
    """Trained, as far as it matters here: its conditioned blocks do something."""
    torch.manual_seed(0)
    segmenter = build_segmenter(OWN_ENCODER, None).eval().requires_grad_(False)
    for block in (
        *segmenter.mask_decoder.conditioning.levels,
        segmenter.mask_decoder.conditioning.fine,
    ):
        block.second.weight.normal_(std=0.2)
    return segmenter


def test_the_own_encoder_gives_every_level(own_encoder: Segmenter) -> None:
    embedding = own_encoder.image_encoder(random(2, 3, SIDE, SIDE))
    width = OWN_ENCODER.embed_dim
    assert embedding.coarse.shape == (2, width, SIDE // 8, SIDE // 8)
    assert embedding.fine.shape == (2, width // 4, SIDE // 4, SIDE // 4)
    assert [tuple(level.shape[1:]) for level in embedding.context] == [
        (width, SIDE // 16, SIDE // 16),
        (width, SIDE // 32, SIDE // 32),
    ]


def test_the_query_steers_every_level_of_the_own_encoder(own_encoder: Segmenter) -> None:
    embedding = own_encoder.image_encoder(random(1, 3, SIDE, SIDE))
    steer, width = own_encoder.mask_decoder.conditioning.steer, OWN_ENCODER.embed_dim
    one, other = random(1, width, seed=2), random(1, width, seed=3)
    seen = steer(embedding.coarse, embedding.context, one)
    assert (seen - steer(embedding.coarse, embedding.context, other)).abs().max() > 0.1
    for number in range(len(embedding.context)):
        changed = list(embedding.context)
        changed[number] = changed[number] + 1
        assert (seen - steer(embedding.coarse, tuple(changed), one)).abs().max() > 0.1


def test_batches_of_the_own_encoder_are_made_and_cut(own_encoder: Segmenter) -> None:
    images = random(3, 3, SIDE, SIDE)
    seg, prompt = random(3, 1, OWN_ENCODER.embed_dim), random(3, 1, SIDE // 2, SIDE // 2)
    singles = [own_encoder.image_encoder(images[n : n + 1]) for n in range(3)]
    both = ImageEmbedding.stack(singles[:2])
    swapped = both.with_rows(torch.tensor([0]), singles[2])
    for embedding, order in ((both, (0, 1)), (swapped, (2, 1)), (swapped.rows(slice(1, 2)), (1,))):
        rows = list(order)
        given = own_encoder(embedding, seg[rows], prompt[rows])
        for place, n in enumerate(order):
            alone = own_encoder(singles[n], seg[n : n + 1], prompt[n : n + 1])
            torch.testing.assert_close(
                given.mask_logits[place], alone.mask_logits[0], atol=1e-4, rtol=1e-4
            )


@pytest.mark.parametrize(("queries", "keys"), [(40, 6), (6, 40), (7, 7)])
def test_attention_equals_segment_anythings(queries: int, keys: int) -> None:
    torch.manual_seed(0)
    original = Attention(16, 4, downsample_rate=2)
    tensors = [random(2, count, 16, seed=n) for n, count in enumerate((queries, keys, keys))]
    expected = original(*tensors)
    (laid_out,) = lay_out_attention(nn.ModuleList([original]))
    assert isinstance(laid_out, PromptAttention)
    torch.testing.assert_close(laid_out(*tensors), expected, atol=1e-5, rtol=1e-5)
