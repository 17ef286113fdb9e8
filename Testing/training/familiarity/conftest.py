"""A tiny checkpoint to fit the judge of familiarity to, on the made-up data."""

import pytest
import torch
from tiny import compact_model
from tiny_familiarity import judge_for

from Sim4SegCore.modeling.checkpoint import save_model
from training import run


@pytest.fixture
def checkpoint(made_up_data, tmp_path, monkeypatch):
    """Its folder; commands find the made-up data by themselves."""
    pytest.importorskip("skimage")
    torch.set_num_threads(1)
    monkeypatch.setenv("SIM4SEG_DATA", str(made_up_data))
    folder = tmp_path / "model"
    save_model(compact_model(), folder)
    return folder


@pytest.fixture
def judge():
    """One that fits the checkpoint, and was not fitted to any image."""
    return judge_for(compact_model().lvlm, 1.0)


@pytest.fixture
def command(checkpoint, capsys):
    """`command(name, *arguments)` about the checkpoint: exit code, what was printed."""

    def called(name, *arguments):
        code = run.main([name, "--model", str(checkpoint), *map(str, arguments)])
        return code, capsys.readouterr()

    return called
