"""The volumetric network beside a checkpoint: the folder `volumetric` in its folder, optional.

config.json          sizes (VolumetricConfig), and which checkpoint it is aligned with
model.safetensors    weights in half precision
card.json            optional: data, licence, command, metrics
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ..errors import Sim4SegError
from ..io.problems import explain_os_error
from .readable import open_to_readers
from .volumetric import VolumetricConfig, VolumetricNetwork

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "card.json"


def load_volumetric(folder: Path) -> VolumetricNetwork:
    """Read a volumetric network onto the CPU.

    Raises:
        Sim4SegError: if a file is missing or damaged, or does not fit the other.
    """
    config = _read_config(folder / CONFIG_FILE)
    network = VolumetricNetwork(config)
    path = folder / WEIGHTS_FILE
    try:
        state = {name: value.float() for name, value in load_file(path).items()}
        network.load_state_dict(state)
    except PermissionError as error:
        raise explain_os_error(error, path, "read") from None
    except (OSError, SafetensorError):
        raise Sim4SegError(f"{path} is missing or damaged; fetch the checkpoint again") from None
    except RuntimeError:
        raise Sim4SegError(f"{path} does not fit {CONFIG_FILE} beside it") from None
    return network.eval().requires_grad_(False)


def save_volumetric(network: VolumetricNetwork, folder: Path, card: dict[str, Any]) -> None:
    """Write a volumetric network; one that is there is replaced when all is written.

    Raises:
        Sim4SegError: if it cannot be written; what was there stays.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    state = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    try:
        partial.mkdir(parents=True)
        save_file(state, partial / WEIGHTS_FILE)
        _write_json(partial / CONFIG_FILE, dataclasses.asdict(network.config))
        _write_json(partial / CARD_FILE, card)
        open_to_readers(partial)
        _replace(partial, folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise Sim4SegError(f"cannot write {folder}: {error}") from None


def _replace(new: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _read_config(path: Path) -> VolumetricConfig:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        plain: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in values.items()
        }
        return VolumetricConfig(**plain)
    except OSError:
        raise Sim4SegError(f"{path} is missing; fetch the checkpoint again") from None
    except (ValueError, TypeError, AttributeError):
        raise Sim4SegError(f"{path} is no configuration of a volumetric network") from None


def _write_json(path: Path, values: Any) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
