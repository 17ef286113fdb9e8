"""Checkpoints come back as they were saved; damaged ones are refused in one line."""

from __future__ import annotations

import copy
import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import answer, framed, picture, write_llava

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.modeling.checkpoint import identify, load_model, resolve_folder, save_model
from Sim4SegCore.modeling.layers import lay_out_channels_last
from Sim4SegCore.modeling.sim4seg import Sim4SegModel
from Sim4SegCore.predictor import Sim4Seg


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, models: dict[str, Sim4SegModel]) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    save_model(models["compact"], folder, {"revision": "r1"})
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(saved, tmp_path / "tiny"))


def refusal(folder: Path) -> str:
    """The message of the expected error, checked to be one readable line."""
    with pytest.raises(Sim4SegError) as caught:
        load_model(resolve_folder(folder))
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 300
    return message


@torch.no_grad()
def outputs(model: Sim4SegModel) -> dict[str, torch.Tensor]:
    lvlm_image, _, frames = framed(model, picture(0))
    ids = answer(model, picture(0)).text_ids[:60]
    seg = torch.tensor([ids.index(model.lvlm.tokenizer.convert_tokens_to_ids("[SEG]"))])
    given = model(lvlm_image, None, None, torch.tensor([ids]), seg, frames)
    return {"tokens": given.token_logits, "mask": given.grounding.mask_logits}


def test_a_saved_model_answers_as_before(compact: Sim4SegModel, saved: Path) -> None:
    loaded = load_model(saved)
    rounded = copy.deepcopy(compact)
    for name, value in rounded.state_dict().items():
        value.copy_(value if "positional_encoding" in name else value.half())
    lay_out_channels_last(rounded)
    before, after, exactly = outputs(compact), outputs(loaded), outputs(rounded)
    for name, value in before.items():
        scale = float(value.abs().max())
        torch.testing.assert_close(after[name], value, atol=0.1 * scale, rtol=0)
        torch.testing.assert_close(after[name], exactly[name], atol=1e-5 * scale, rtol=1e-5)
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_every_weight_comes_back_within_half_precision(compact: Sim4SegModel, saved: Path) -> None:
    loaded = load_model(saved).state_dict()
    assert loaded.keys() == compact.state_dict().keys()
    for name, value in compact.state_dict().items():
        exact = "positional_encoding" in name
        expected = value if exact else value.half().float()
        torch.testing.assert_close(loaded[name], expected, atol=0, rtol=0, msg=name)


def test_config_comes_back(compact: Sim4SegModel, saved: Path) -> None:
    assert load_model(saved).config == compact.config


def test_saving_again_gives_the_same_hash_and_never_overwrites(saved: Path, tmp_path: Path) -> None:
    model = load_model(saved)
    save_model(model, tmp_path / "again", {"revision": "r2"})
    assert identify(tmp_path / "again", "x").sha256 == identify(saved, "x").sha256
    assert identify(tmp_path / "again", "x").revision == "r2"
    with pytest.raises(Sim4SegError, match="exists"):
        save_model(model, tmp_path / "again")


def test_another_weight_gives_another_hash(saved: Path, folder: Path) -> None:
    change(folder / "model.safetensors", "rvls2m.scale", lambda value: value + 1)
    assert identify(folder, "x").sha256 != identify(saved, "x").sha256


def change(path: Path, name: str, how: Callable[[torch.Tensor], torch.Tensor] | None) -> None:
    """Rewrite one tensor of a file, or drop it."""
    state = load_file(path)
    value = state.pop(name)
    if how is not None:
        state[name] = how(value).contiguous()
    save_file(state, path, metadata={"format": "pt"})


OWN, LVLM = "model.safetensors", "lvlm/model.safetensors"
OWN_TENSOR = "segmenter.mask_decoder.iou_token.weight"
LVLM_TENSOR = "model.multi_modal_projector.linear_1.weight"


def lvlm_tensor(folder: Path) -> str:
    """Transformers chooses the names in its files."""
    return next(name for name in load_file(folder / LVLM) if "linear_1.weight" in name)


def test_a_missing_tensor_is_named(folder: Path) -> None:
    change(folder / OWN, OWN_TENSOR, None)
    assert OWN_TENSOR in refusal(folder)


def test_a_misshaped_tensor_is_named(folder: Path) -> None:
    change(folder / OWN, OWN_TENSOR, lambda value: value[:, :-1])
    message = refusal(folder)
    assert OWN_TENSOR in message
    assert "(1, 31)" in message


def test_a_missing_tensor_of_the_lvlm_is_named(folder: Path) -> None:
    change(folder / LVLM, lvlm_tensor(folder), None)
    assert "linear_1.weight" in refusal(folder)


def test_a_misshaped_tensor_of_the_lvlm_is_named(folder: Path) -> None:
    change(folder / LVLM, lvlm_tensor(folder), lambda value: value[:, :-1])
    assert "linear_1.weight" in refusal(folder)


@pytest.mark.parametrize("file", [OWN, LVLM])
@pytest.mark.parametrize("length", [0, 5, 2000, -10])
def test_a_truncated_file_is_refused(folder: Path, file: str, length: int) -> None:
    whole = (folder / file).read_bytes()
    (folder / file).write_bytes(whole[:length])
    assert refusal(folder)


@pytest.mark.parametrize(
    "file",
    [
        "config.json",
        "model.safetensors",
        "lvlm/config.json",
        "lvlm/model.safetensors",
        "lvlm/tokenizer.json",
        "lvlm/preprocessor_config.json",
        "lvlm",
    ],
)
def test_a_missing_file_is_refused(folder: Path, file: str) -> None:
    path = folder / file
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert refusal(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"lvlm": 3}', '{"colour": "red"}'])
def test_a_config_that_is_none_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    assert "config.json" in refusal(folder)


@pytest.mark.parametrize("file", ["lvlm/config.json", "lvlm/tokenizer.json"])
def test_damaged_json_of_the_lvlm_is_refused(folder: Path, file: str) -> None:
    (folder / file).write_text("{")
    assert refusal(folder)


def test_a_config_of_another_size_is_refused(folder: Path) -> None:
    path = folder / "config.json"
    values = json.loads(path.read_text())
    values["segmenter"]["embed_dim"] = 64
    path.write_text(json.dumps(values))
    assert "the configuration says" in refusal(folder)


def test_a_plain_llava_folder_is_refused(tmp_path: Path) -> None:
    assert "plain LLaVA" in refusal(write_llava(tmp_path / "llava"))


def test_a_tokenizer_without_seg_is_refused(folder: Path, tmp_path: Path) -> None:
    plain = write_llava(tmp_path / "llava")
    shutil.copy(plain / "tokenizer.json", folder / "lvlm")
    shutil.copy(plain / "tokenizer_config.json", folder / "lvlm")
    assert "[SEG]" in refusal(folder)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object) -> None:
        raise AssertionError("tried to reach the network")

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    "name",
    ["nowhere", "no/such", "no/such/folder", "/no/such/folder", "./here", "~/no/such", "a b/c", ""],
)
def test_an_unknown_model_is_refused_without_a_download(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Sim4SegError) as caught:
        Sim4Seg.from_pretrained(name, device="cpu")
    assert "\n" not in str(caught.value)


def test_whoever_may_read_the_configuration_may_read_the_weights(saved: Path) -> None:
    mode = (saved / "config.json").stat().st_mode
    weights = list(saved.rglob("*.safetensors"))
    assert len(weights) == 2
    assert all(path.stat().st_mode == mode for path in weights)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"revision": 3', '{"revision": "two"}'])
def test_a_damaged_card_stops_nothing(folder: Path, text: str) -> None:
    (folder / "card.json").write_text(text)
    identity = identify(folder, "mine")
    assert identity.revision == ("two" if "two" in text else "unknown")
