"""What a run folder says of its run before the first step: configuration and environment."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import yaml

from Sim4SegCore.errors import Sim4SegError

from .environment import describe_environment
from .state import STATE_FILE

CONFIG_FILE = "config.yaml"
ENVIRONMENT_FILE = "environment.json"


def continues(folder: Path, config: Any) -> bool:
    """Whether the folder holds a saved state of this configuration (a dataclass).

    Raises:
        Sim4SegError: if its state is of another configuration.
    """
    if not (folder / STATE_FILE).exists():
        return False
    if (folder / CONFIG_FILE).read_text(encoding="utf-8") != _resolved(config):
        raise Sim4SegError(
            f"{folder} holds a run with another configuration; choose another output"
        )
    return True


def begin(folder: Path, config: Any, processes: int) -> None:
    """Make the folder of a new run.

    Raises:
        Sim4SegError: if it cannot be written.
    """
    environment = json.dumps(describe_environment(processes), indent=2)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG_FILE).write_text(_resolved(config), encoding="utf-8")
        (folder / ENVIRONMENT_FILE).write_text(environment, encoding="utf-8")
    except OSError as error:
        raise Sim4SegError(f"cannot write to {folder}: {error.strerror}") from None


def _resolved(config: Any) -> str:
    return yaml.safe_dump(json.loads(json.dumps(dataclasses.asdict(config))))
