"""Makes the module's package importable, and a fresh MRML scene for each test."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT, ROOT / "Sim4SegSlicer", Path(__file__).parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


@pytest.fixture
def scene(monkeypatch):
    from mrml_scene import Scene, modules_of, slicer

    made = Scene()
    monkeypatch.setattr(slicer, "mrmlScene", made.mrml, raising=False)
    monkeypatch.setattr(slicer, "modules", modules_of(made), raising=False)
    yield made
    made.mrml.Clear(1)
