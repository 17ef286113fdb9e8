"""Which sets there are: those in `sets/` and those that plugins add."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

from Sim4SegCore.errors import Sim4SegError

from .source import Source

_KINDS: dict[str, type[Source]] = {}


def register(cls: type[Source]) -> type[Source]:
    """Class decorator: the configuration can name the set by its `kind` from now on.

    Raises:
        Sim4SegError: if another class has that kind already.
    """
    known = _KINDS.get(cls.kind)
    if known is not None and known.__qualname__ != cls.__qualname__:
        raise Sim4SegError(
            f"two sets are called '{cls.kind}': {known.__qualname__} and {cls.__qualname__}"
        )
    _KINDS[cls.kind] = cls
    return cls


def kinds() -> list[str]:
    """Names of all registered sets."""
    importlib.import_module(".sets", __package__)
    return sorted(_KINDS)


def source_class(kind: str) -> type[Source]:
    """The class that reads a set.

    Raises:
        Sim4SegError: for an unknown one, with the nearest.
    """
    known = kinds()
    if kind not in known:
        near = difflib.get_close_matches(kind, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        raise Sim4SegError(f"unknown set '{kind}'; {hint}")
    return _KINDS[kind]


def load_plugins(plugins: Iterable[str]) -> None:
    """Import modules, named by dotted name or by file, that register sets.

    Raises:
        Sim4SegError: if one cannot be found.
    """
    for plugin in plugins:
        path = Path(plugin)
        if path.suffix != ".py":
            try:
                importlib.import_module(plugin)
            except ModuleNotFoundError as error:
                raise Sim4SegError(f"plugin '{plugin}' cannot be imported: {error}") from None
            continue
        if not path.is_file():
            raise Sim4SegError(f"no plugin file {path}")
        name = f"m3ds_plugin_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
