"""Every family of networks through one code: caches, second images, adapters.

The cached way (predictor) and the teacher-forced way (training) must be the same function.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny import (
    KINDS,
    OWN_VIT,
    QUERY,
    SIDE,
    answer,
    build,
    decode,
    framed,
    model_from_folder,
    picture,
    small_sam_registered,
    write_llava,
)
from torch import Tensor
from transformers import AutoModelForImageTextToText

from Sim4SegCore.case import ModelIdentity, Result
from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.modeling.answer import SEG_TOKEN, PromptStyle
from Sim4SegCore.modeling.checkpoint import load_model, save_model
from Sim4SegCore.modeling.generation import AnswerDecoder, Generated
from Sim4SegCore.modeling.lvlm import LVLM, LVLMConfig
from Sim4SegCore.modeling.lvlm_loading import QWEN_PROMPT, load_lvlm, prompt_style
from Sim4SegCore.modeling.sim4seg import Sim4SegModel, TeacherForced
from Sim4SegCore.predictor import Sim4Seg

OTHER_QUERY = "What is wrong with this lung?"


@torch.no_grad()
def prefill(model: Sim4SegModel, image: Tensor) -> tuple[Tensor, object]:
    """Hidden states and cache of the image prefix."""
    vision = model.lvlm.see(framed(model, image)[0])
    prefix = torch.tensor([model.lvlm.prefix_ids(vision)])
    states, cache = model.lvlm.hidden_states(prefix, vision, use_cache=True)
    return states, cache


@torch.no_grad()
def forced_states(model: Sim4SegModel, image: Tensor, text_ids: list[int]) -> Tensor:
    """Hidden states of the text, computed in one pass without a cache."""
    vision = model.lvlm.see(framed(model, image)[0])
    prefix = model.lvlm.prefix_ids(vision)
    states, _ = model.lvlm.hidden_states(torch.tensor([prefix + text_ids]), vision)
    return states[0, len(prefix) :]


@torch.no_grad()
def teacher_forced(model: Sim4SegModel, image: Tensor, generated: Generated) -> TeacherForced:
    lvlm_image, sam_image, frames = framed(model, image)
    shared = model.config.segmenter.encoder == "shared"
    return model(
        lvlm_image,
        None if shared else sam_image,
        None,
        torch.tensor([generated.text_ids]),
        torch.tensor([seg_position(model, generated)]),
        frames,
    )


def seg_position(model: Sim4SegModel, generated: Generated) -> int:
    return generated.text_ids.index(model.lvlm.tokenizer.convert_tokens_to_ids(SEG_TOKEN))


def test_cached_hidden_states_equal_a_single_pass(model: Sim4SegModel) -> None:
    image = picture(0)
    generated = answer(model, image)
    _, cache = prefill(model, image)
    parts, start = [], 0
    for length in (7, 1, 1, len(generated.text_ids)):
        ids = torch.tensor([generated.text_ids[start : start + length]])
        with torch.no_grad():
            states, cache = model.lvlm.hidden_states(ids, cache=cache, use_cache=True)
        parts.append(states[0])
        start += length
    expected = forced_states(model, image, generated.text_ids)
    torch.testing.assert_close(torch.cat(parts), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        generated.seg_state, expected[seg_position(model, generated)], atol=1e-4, rtol=1e-4
    )


def test_decoded_words_are_the_teacher_forced_choice(model: Sim4SegModel) -> None:
    image = picture(0)
    generated = answer(model, image)
    decoder = AnswerDecoder(model.lvlm, model.config.diagnoses)
    free = free_positions(model.lvlm, decoder, generated)
    logits = teacher_forced(model, image, generated).token_logits[0]
    ends = {decoder.end, model.lvlm.tokenizer.eos_token_id}
    logits[:, sorted(set(model.lvlm.tokenizer.get_added_vocab().values()) - ends)] = -torch.inf
    chosen = logits.argmax(-1).tolist()
    assert len(free) > 3
    assert [chosen[n - 1] for n in free] == [generated.text_ids[n] for n in free]


def free_positions(lvlm: LVLM, decoder: AnswerDecoder, generated: Generated) -> list[int]:
    """Indices in `text_ids` of the words that the network chose itself."""
    position = len(lvlm.query_ids(QUERY)) + len(decoder.opening) + len(decoder.leads[0])
    free = []
    for lead in [*decoder.leads[1:], []]:
        stop = find(generated.text_ids, [decoder.end, *lead], position)
        if lead:
            free += range(position, stop)
        position = stop + 1 + len(lead)
    return free


def find(ids: list[int], piece: list[int], start: int) -> int:
    return next(n for n in range(start, len(ids)) if ids[n : n + len(piece)] == piece)


def test_mask_of_the_cached_answer_equals_the_training_forward(model: Sim4SegModel) -> None:
    image = picture(0)
    generated = answer(model, image)
    states, _ = prefill(model, image)
    lvlm_image, sam_image, frames = framed(model, image)
    with torch.no_grad():
        vision = model.lvlm.see(lvlm_image)
        tokens = model.image_tokens(vision, states[:, -(vision.token_grid[0] ** 2) :])
        embedding = model.sam_embedding(sam_image, None, frames.sam_content)
        cached = model.ground(generated.seg_state[None], tokens, embedding, frames)
    forced = teacher_forced(model, image, generated).grounding
    for name in ("mask_logits", "iou", "presence_logits", "diagnosis_logits", "detail_logits"):
        torch.testing.assert_close(
            getattr(cached, name), getattr(forced, name), atol=1e-4, rtol=1e-4
        )
    torch.testing.assert_close(cached.prompt.logits, forced.prompt.logits, atol=1e-4, rtol=1e-4)


def test_right_padding_changes_nothing_in_a_batch(model: Sim4SegModel) -> None:
    short, long = model.lvlm.query_ids(QUERY), model.lvlm.query_ids(QUERY + " " + OTHER_QUERY)
    images = torch.cat([framed(model, picture(n))[0] for n in (0, 1)])
    padded = short + [model.lvlm.tokenizer.pad_token_id] * (len(long) - len(short))
    with torch.no_grad():
        vision = model.lvlm.see(images)
        prefix = torch.tensor(model.lvlm.prefix_ids(vision))
        ids = torch.cat([prefix.expand(2, -1), torch.tensor([padded, long])], dim=1)
        states, _ = model.lvlm.hidden_states(ids, vision)
    for row, text in enumerate((short, long)):
        alone = forced_states(model, picture(row), text)
        found = states[row, len(prefix) : len(prefix) + len(text)]
        torch.testing.assert_close(found, alone, atol=1e-4, rtol=1e-4)


def test_a_query_leaves_the_image_prefix_as_it_was(model: Sim4SegModel) -> None:
    _, cache = prefill(model, picture(0))
    length = cache.get_seq_length()
    decoder = AnswerDecoder(model.lvlm, model.config.diagnoses)
    first = decode(decoder, QUERY, cache)
    decode(decoder, OTHER_QUERY, cache)
    again = decode(decoder, QUERY, cache)
    assert cache.get_seq_length() == length
    assert first.text_ids == again.text_ids
    # Drafts change how many tokens go through at once, and so the last digits.
    assert first.diagnosis_probabilities == pytest.approx(
        again.diagnosis_probabilities, rel=1e-3, abs=1e-9
    )
    torch.testing.assert_close(first.seg_state, again.seg_state, atol=0, rtol=0)


def test_other_passes_between_prefix_and_query_change_nothing(model: Sim4SegModel) -> None:
    expected = answer(model, picture(0))
    _, cache = prefill(model, picture(0))
    with torch.no_grad():
        images = torch.cat([framed(model, picture(n))[0] for n in (1, 2, 3)])
        vision = model.lvlm.see(images)
        prefix = torch.tensor([model.lvlm.prefix_ids(vision)] * 3)
        model.lvlm.hidden_states(prefix, vision)
    again = decode(AnswerDecoder(model.lvlm, model.config.diagnoses), QUERY, cache)
    assert again.text_ids == expected.text_ids
    torch.testing.assert_close(again.seg_state, expected.seg_state)


def test_a_second_image_does_not_see_the_first(model: Sim4SegModel) -> None:
    arrays = [picture(n, 40, 90).permute(1, 2, 0).numpy() for n in (0, 1)]
    fresh = [predictor(model).segment(array, QUERY) for array in arrays]
    used = predictor(model)
    used.segment(arrays[0], OTHER_QUERY)
    second = used.segment(arrays[1], QUERY)
    assert_same(second, fresh[1])
    assert not np.allclose(fresh[0].similarity, fresh[1].similarity, atol=1e-3)


def predictor(model: Sim4SegModel) -> Sim4Seg:
    return Sim4Seg(model, ModelIdentity("tiny", "0", "0"))


def assert_same(one: Result, other: Result) -> None:
    assert one.reasoning == other.reasoning
    assert one.diagnosis.label == other.diagnosis.label
    assert one.confidence == pytest.approx(other.confidence, abs=1e-5)
    assert [name for name, _ in one.diagnosis.alternatives] == [
        name for name, _ in other.diagnosis.alternatives
    ]
    np.testing.assert_array_equal(one.mask, other.mask)
    np.testing.assert_allclose(one.similarity, other.similarity, atol=1e-5)


def test_the_answer_depends_on_image_and_query(model: Sim4SegModel) -> None:
    base = answer(model, picture(0)).seg_state
    assert not torch.allclose(base, answer(model, picture(1)).seg_state, atol=1e-2)
    assert not torch.allclose(base, answer(model, picture(0), OTHER_QUERY).seg_state, atol=1e-2)


def test_image_pixels_are_neither_resized_nor_cropped(model: Sim4SegModel) -> None:
    image = framed(model, picture(0))[0]
    given = model.lvlm.normalise(image)["pixel_values"].flatten()
    processor = model.lvlm.image_processor
    mean, std = (
        torch.tensor(values)[:, None, None]
        for values in (processor.image_mean, processor.image_std)
    )
    expected = ((image / 255 - mean) / std).flatten()
    copies = len(given) // len(expected)  # Qwen shows a still image as two frames
    torch.testing.assert_close(
        given.sort().values, expected.repeat(copies).sort().values, atol=1e-4, rtol=1e-4
    )


def test_special_tokens_in_a_query_are_plain_text(model: Sim4SegModel) -> None:
    lvlm = model.lvlm
    specials = set(lvlm.tokenizer.get_added_vocab().values())
    attack = " ".join([*lvlm.tokenizer.get_added_vocab(), "[S[SEG]EG]"])
    given = [n for n in lvlm.query_ids(f"a {attack} b") if n in specials]
    assert given == [n for n in lvlm.query_ids("a b") if n in specials]


def test_prompts_of_the_families() -> None:
    assert prompt_style("qwen2_vl") == QWEN_PROMPT
    assert prompt_style("llava") == PromptStyle()


@pytest.fixture(scope="module")
def base_and_adapter(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny LLaVA and a LoRA adapter for it whose weights are not zero."""
    folder = tmp_path_factory.mktemp("lora")
    base = write_llava(folder / "base")
    torch.manual_seed(0)
    network = AutoModelForImageTextToText.from_pretrained(base)
    targets = ["q_proj", "v_proj"]
    lora = LoraConfig(r=2, lora_alpha=16, target_modules=targets, init_lora_weights=False)
    get_peft_model(network, lora).save_pretrained(folder / "adapter")
    return base, folder / "adapter"


def test_an_adapter_is_merged(base_and_adapter: tuple[Path, Path]) -> None:
    from peft import PeftModel

    base, adapter = base_and_adapter
    config = LVLMConfig(image_size=SIDE)
    plain, merged = load_lvlm(base, config), load_lvlm(base, config, adapter=adapter)
    network = AutoModelForImageTextToText.from_pretrained(base)
    wrapped = PeftModel.from_pretrained(network, adapter).eval()
    image = torch.randint(0, 256, (1, 3, SIDE, SIDE), dtype=torch.uint8)
    with torch.no_grad():
        vision = merged.see(image)
        ids = torch.tensor([merged.prefix_ids(vision) + merged.query_ids(QUERY)])
        found = merged.logits(merged.hidden_states(ids, vision)[0])
        expected = wrapped(input_ids=ids, **vision.pixels).logits
        without = plain.logits(plain.hidden_states(ids, plain.see(image))[0])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert (found - without).abs().max() > 0.1


def test_a_checkpoint_with_an_adapter_folder_uses_it(
    base_and_adapter: tuple[Path, Path], tmp_path: Path
) -> None:
    base, adapter = base_and_adapter
    model = model_from_folder(base, PromptStyle())
    save_model(model, tmp_path / "saved")
    with small_sam_registered():
        before = load_model(tmp_path / "saved")
        adapter.rename(tmp_path / "saved" / "adapter")
        after = load_model(tmp_path / "saved")
    (tmp_path / "saved" / "adapter").rename(adapter)
    assert after.config.segmenter == OWN_VIT
    one, other = (answer(m, picture(0)).seg_state for m in (before, after))
    assert (one - other).abs().max() > 0.1


def test_a_damaged_adapter_is_refused(base_and_adapter: tuple[Path, Path], tmp_path: Path) -> None:
    base, adapter = base_and_adapter
    broken = tmp_path / "adapter"
    broken.mkdir()
    for file in adapter.iterdir():
        (broken / file.name).write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(Sim4SegError, match="adapter"):
        load_lvlm(base, LVLMConfig(image_size=SIDE), adapter=broken)


@pytest.mark.parametrize("kind", KINDS)
def test_a_query_makes_transformers_warn_of_nothing(kind, tmp_path):
    predictor = Sim4Seg(build(kind, tmp_path / "model"), ModelIdentity("tiny", "", ""))
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        predictor.segment(picture(0).permute(1, 2, 0).numpy(), QUERY)
