"""Dataclasses from YAML files and `key=value`; knows nothing of models, to load at once."""

from __future__ import annotations

import dataclasses
import difflib
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml

from Sim4SegCore.errors import Sim4SegError

Config = TypeVar("Config")


def load(cls: type[Config], path: Path | None, overrides: list[str]) -> Config:
    """Read a YAML file into a dataclass and apply `a.b=value` overrides, each read as YAML.

    Raises:
        Sim4SegError: for an unknown key (with the nearest valid one) or a wrong type.
    """
    values: dict[str, Any] = {}
    if path is not None:
        if not path.is_file():
            raise Sim4SegError(f"no configuration file {path}")
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    for override in overrides:
        key, sign, text = override.partition("=")
        if not sign:
            raise Sim4SegError(f"'{override}' is not of the form key=value")
        node = values
        *parents, last = key.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = yaml.safe_load(text)
    config: Config = from_dict(cls, values, "")
    return config


def from_dict(cls: Any, values: Any, where: str) -> Any:
    """Build a dataclass from plain values, refusing what does not fit."""
    if not isinstance(values, dict):
        raise Sim4SegError(f"{where or 'the configuration'} must be a mapping")
    hints = get_type_hints(cls)
    names = {f.name for f in dataclasses.fields(cls)}
    for key in values:
        if key not in names:
            near = difflib.get_close_matches(str(key), names, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise Sim4SegError(f"unknown key {where}{key}{hint}")
    return cls(**{k: _convert(hints[k], v, f"{where}{k}") for k, v in values.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value, f"{where}.")
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple and isinstance(value, list | tuple):
        inner = arguments[0]
        return tuple(_convert(inner, item, where) for item in value)
    if origin is dict and isinstance(value, dict):
        return {str(k): _convert(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    accepted = arguments if arguments and origin is not tuple else (hint,)
    for option in accepted:
        if not isinstance(option, type):
            if option == value:
                return value
        elif option is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        elif isinstance(value, option) and (option is bool or not isinstance(value, bool)):
            return value
    wanted = " or ".join(getattr(o, "__name__", repr(o)) for o in accepted)
    raise Sim4SegError(f"{where} must be {wanted}, not {value!r}")
