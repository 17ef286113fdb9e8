"""Shared by all tests: no network, no accidental use of many threads, one embedded model."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")

# How long an example takes says more about the machine than about the code.
settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")


@pytest.fixture(scope="session")
def embedded():
    """The embedded model on the CPU; tests must not change it."""
    from Sim4SegCore import Sim4Seg

    return Sim4Seg.from_pretrained(device="cpu")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with m3ds/ and volumes/; tests that need it are skipped without it."""
    root = Path(__file__).resolve().parent.parent
    folder = Path(os.environ.get("SIM4SEG_DATA") or root / "../shared").resolve()
    if not (folder / "m3ds").is_dir():
        pytest.skip(f"no m3ds in {folder}; set SIM4SEG_DATA to the folder that has it")
    return folder
