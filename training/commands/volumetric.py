"""Train the network of `--mode volume`; goes on where a killed run stopped."""

from __future__ import annotations

import argparse

from .arguments import add_config

SUMMARY = "train the network of volumetric inference; goes on where a killed run stopped"
EXAMPLE = "volumetric --config training/configs/volumetric.yaml steps=2000"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_config(parser)


def run(options: argparse.Namespace) -> None:
    """Train to the configured number of steps."""
    from ..volumetric.config import load_volumetric_config
    from ..volumetric.loop import volumetric_trainer

    volumetric_trainer(load_volumetric_config(options.config, options.overrides)).run()
