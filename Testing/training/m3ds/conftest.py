"""Builds of made-up downloads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from layouts import LAYOUTS, Expected

from training.m3ds.build import build
from training.m3ds.config import Fractions, PrepareConfig, SetConfig
from training.m3ds.report import Report

Prepare = Callable[..., tuple[Path, Report]]


@pytest.fixture
def downloads(tmp_path: Path) -> Path:
    return tmp_path / "downloads"


@pytest.fixture
def make(downloads: Path) -> Callable[[str], dict[str, Expected]]:
    """Draw one set's download and say what must come of it."""

    def draw(name: str) -> dict[str, Expected]:
        (downloads / name).mkdir(parents=True)
        return LAYOUTS[name](downloads / name)

    return draw


@pytest.fixture
def prepare(downloads: Path, tmp_path: Path) -> Prepare:
    """Build sets by name; all free images go to training unless told otherwise."""

    def run(*names: str, **changes: object) -> tuple[Path, Report]:
        values: dict[str, object] = {
            "downloads": str(downloads),
            "output": str(tmp_path / "data"),
            "fractions": Fractions(1.0, 0.0, 0.0),
            "workers": 1,
            "sets": {name: SetConfig() for name in names},
        }
        return build(PrepareConfig(**{**values, **changes}))

    return run
