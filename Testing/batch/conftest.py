"""Small made-up cohorts, and the batch command with a predictor that needs no model."""

import argparse

import pytest
from batch_fake_predictor import FakePredictor
from batch_helpers import draw

from Sim4SegCore.batch.command import add_batch_arguments, run_batch_command
from Sim4SegCore.batch.running import Settings


@pytest.fixture
def cohort(tmp_path):
    """Five images in two folders."""
    folder = tmp_path / "cohort"
    for number, name in enumerate(["a.png", "b.png", "sub/a.png", "sub/Ä ö.png", "z.jpg"]):
        draw(folder / name, number)
    return folder


@pytest.fixture
def batch(tmp_path):
    """Run the command in this process; returns (exit code, predictor)."""

    def run(*arguments, out=None, model="fake"):
        parser = argparse.ArgumentParser()
        add_batch_arguments(parser)
        predictor = FakePredictor(model)
        given = [str(argument) for argument in arguments]
        options = parser.parse_args([*given, "-o", str(out or tmp_path / "out")])
        return run_batch_command(
            options, lambda model, device: predictor, Settings(savers=0)
        ), predictor

    return run
