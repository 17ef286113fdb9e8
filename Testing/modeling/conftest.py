"""One tiny model per family, built once; nothing is ever fetched from the hub."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
from tiny import KINDS, build

from Sim4SegCore.modeling.sim4seg import Sim4SegModel

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sim4SegModel]:
    folder = tmp_path_factory.mktemp("families")
    return {kind: build(kind, folder / kind) for kind in KINDS}


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest, models: dict[str, Sim4SegModel]) -> Sim4SegModel:
    """Every family in turn."""
    return models[request.param]


@pytest.fixture
def compact(models: dict[str, Sim4SegModel]) -> Sim4SegModel:
    return models["compact"]
