"""Checkpoints: a folder of safetensors and JSON, local or on the hub.

config.json          sizes (Sim4SegConfig)
model.safetensors    segmenter, RVLS2M and heads
lvlm/                the network as transformers saves it, with tokenizer and image processor
adapter/             optional: a LoRA adapter (peft) for the LVLM
volumetric/          optional: the network of mode `volume`, see `volumetric_checkpoint`
familiarity.safetensors  optional: tells images apart that are unlike the training images
card.json            optional: data, licences, command, metrics
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import typing
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ..case import ModelIdentity
from ..errors import Sim4SegError
from ..io.problems import explain_os_error
from .answer import SEG_TOKEN
from .build import build_model
from .familiarity_file import load_familiarity, save_familiarity
from .layers import lay_out_channels_last
from .lvlm import LVLM
from .lvlm_loading import load_lvlm
from .readable import open_to_readers
from .sim4seg import Sim4SegConfig, Sim4SegModel
from .volumetric_source import VOLUMETRIC_FOLDER, VolumetricSource

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
LVLM_FOLDER = "lvlm"
ADAPTER_FOLDER = "adapter"
CARD_FILE = "card.json"
EMBEDDED_NAME = "embedded"


def embedded_folder() -> Path:
    """Where the checkpoint lies that ships with the package."""
    package = Path(__file__).resolve().parent.parent
    for candidate in (package / "checkpoint", package.parent / "Resources" / "checkpoint"):
        if (candidate / CONFIG_FILE).is_file():
            return candidate
    raise Sim4SegError(
        "the embedded checkpoint is missing from this installation; reinstall, or name a model"
    )


def resolve_folder(source: str | Path | None) -> Path:
    """A local folder for a source: None is the embedded checkpoint, else a folder or a hub id.

    A hub id is looked up in the local cache first and downloaded otherwise.

    Raises:
        Sim4SegError: if there is no such model.
    """
    if source is None or str(source) == EMBEDDED_NAME:
        return embedded_folder()
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_absolute() or str(source).count("/") != 1:
        raise Sim4SegError(f"no model folder {source}; give a folder, a hub id, or leave it out")
    return _download(str(source))


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub_id, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        pass
    try:
        return Path(snapshot_download(hub_id))
    except (OSError, HFValidationError, HfHubHTTPError, LocalEntryNotFoundError):
        raise Sim4SegError(
            f"'{hub_id}' is neither a model folder here nor a model that could be downloaded"
        ) from None


def load_model(folder: Path, dtype: torch.dtype = torch.float32) -> Sim4SegModel:
    """Load a checkpoint folder on the CPU.

    Raises:
        Sim4SegError: if a file or tensor is missing or has another shape than configured.
    """
    config = _read_config(folder)
    lvlm = _load_lvlm(folder, config, dtype)
    if SEG_TOKEN not in lvlm.tokenizer.get_vocab():
        raise Sim4SegError(f"the tokenizer in {folder.name} has no {SEG_TOKEN} token")
    model = build_model(config, lvlm)
    _load_weights(model, folder / WEIGHTS_FILE)
    model = model.to(dtype).eval().requires_grad_(False)
    lay_out_channels_last(model)
    # segment-anything computes positions in float32, whatever the weights' precision.
    model.segmenter.prompt_encoder.pe_layer.float()
    volumetric = folder / VOLUMETRIC_FOLDER
    if volumetric.is_dir():
        model.volumetric = VolumetricSource(volumetric)
    model.familiarity = load_familiarity(folder)
    return model


def save_model(
    model: Sim4SegModel,
    folder: Path,
    card: dict[str, Any] | None = None,
    adapter: Any | None = None,
) -> None:
    """Write a checkpoint folder in half precision; the folder must not exist.

    Args:
        card: data, licences, command, metrics.
        adapter: peft's model around the LVLM's network: it alone is written, and the checkpoint
            names the LVLM that it refines.

    Raises:
        Sim4SegError: if the folder exists, or cannot be written; nothing half-written stays.
    """
    if folder.exists():
        raise Sim4SegError(f"{folder} exists; choose another folder for the checkpoint")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        _write_parts(model, partial, card, adapter)
        open_to_readers(partial)
        partial.rename(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise Sim4SegError(f"cannot write the checkpoint {folder}: {error}") from None


def _write_parts(
    model: Sim4SegModel, folder: Path, card: dict[str, Any] | None, adapter: Any | None
) -> None:
    lvlm_config = model.config.lvlm
    if adapter is None:
        lvlm_config = dataclasses.replace(lvlm_config, source=LVLM_FOLDER)
    config = dataclasses.asdict(dataclasses.replace(model.config, lvlm=lvlm_config))
    _write_json(folder / CONFIG_FILE, config)
    save_file(_half(_own_state(model)), folder / WEIGHTS_FILE)
    if model.familiarity is not None:
        save_familiarity(model.familiarity, folder)
    if adapter is None:
        network = model.lvlm.network
        network.save_pretrained(folder / LVLM_FOLDER, state_dict=_half(_once(network)))
        model.lvlm.tokenizer.save_pretrained(folder / LVLM_FOLDER)
        model.lvlm.image_processor.save_pretrained(folder / LVLM_FOLDER)
    else:
        adapter.save_pretrained(folder / ADAPTER_FOLDER)
        model.lvlm.tokenizer.save_pretrained(folder)
    if card is not None:
        _write_json(folder / CARD_FILE, card)


def identify(folder: Path, name: str) -> ModelIdentity:
    """Name, hash over all weight files in order of name, and the card's revision."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")):
        with path.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    return ModelIdentity(name, digest.hexdigest(), _revision(folder / CARD_FILE))


def _revision(card: Path) -> str:
    """What a checkpoint calls its state; a card is for people, and a damaged one stops nothing."""
    try:
        return str(json.loads(card.read_text(encoding="utf-8"))["revision"])
    except (OSError, ValueError, TypeError, LookupError):
        return "unknown"


def _read_config(folder: Path) -> Sim4SegConfig:
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise Sim4SegError(f"{folder} is no Sim4Seg checkpoint: it has no {CONFIG_FILE}")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        config: Sim4SegConfig = _from_plain(Sim4SegConfig, values)
    except (ValueError, TypeError, AttributeError):
        raise Sim4SegError(
            f"{path} is not a Sim4Seg configuration (a plain LLaVA needs training/run.py first)"
        ) from None
    return config


def _from_plain(hint: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        unknown = set(value) - set(hints)
        if unknown:
            raise TypeError(f"unknown keys {unknown}")
        built: Any = hint(**{k: _from_plain(hints[k], v) for k, v in value.items()})  # type: ignore[operator]
        return built
    return tuple(value) if typing.get_origin(hint) is tuple else value


def _load_lvlm(folder: Path, config: Sim4SegConfig, dtype: torch.dtype) -> LVLM:
    own = folder / config.lvlm.source
    place = own if own.is_dir() else resolve_folder(config.lvlm.source)
    adapter = folder / ADAPTER_FOLDER
    tokenizer = folder if (folder / "tokenizer.json").is_file() else place
    return load_lvlm(place, config.lvlm, dtype, tokenizer, adapter if adapter.is_dir() else None)


def _load_weights(model: Sim4SegModel, path: Path) -> None:
    if not path.is_file():
        raise Sim4SegError(f"the checkpoint {path.parent.name} has no {WEIGHTS_FILE}")
    try:
        state = load_file(path)
    except PermissionError as error:
        raise explain_os_error(error, path, "read") from None
    except (SafetensorError, OSError):
        raise Sim4SegError(f"{path} is damaged; fetch the checkpoint again") from None
    expected = _own_state(model)
    for name, tensor in expected.items():
        if name not in state:
            raise Sim4SegError(f"{path.name} lacks the tensor {name}; the checkpoint is incomplete")
        if state[name].shape != tensor.shape:
            found, wanted = tuple(state[name].shape), tuple(tensor.shape)
            raise Sim4SegError(
                f"{path.name}: tensor {name} is {found}, the configuration says {wanted}"
            )
    model.load_state_dict({k: v.to(torch.float32) for k, v in state.items()}, strict=False)


def _own_state(model: Sim4SegModel) -> dict[str, torch.Tensor]:
    """Everything but the LVLM, which transformers saves."""
    return {k: v for k, v in model.state_dict().items() if not k.startswith("lvlm.")}


def _once(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The state without second names of one tensor, which transformers ties again."""
    seen: set[tuple[int, torch.Size]] = set()
    state = {}
    for name, value in network.state_dict().items():
        place = (value.data_ptr(), value.shape)
        if place not in seen:
            seen.add(place)
            state[name] = value
    return state


def _half(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Half precision, but for position encodings, whose phases would suffer."""
    return {
        name: (value.half() if _may_be_half(name, value) else value).contiguous().clone()
        for name, value in state.items()
    }


def _may_be_half(name: str, value: torch.Tensor) -> bool:
    return value.is_floating_point() and "positional_encoding" not in name


def _write_json(path: Path, values: Any) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
