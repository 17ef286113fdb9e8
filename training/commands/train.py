"""Train a model; goes on where a killed run stopped."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .arguments import add_config

if TYPE_CHECKING:
    from ..config import TrainingConfig

SUMMARY = "train a model; goes on where a killed run stopped"
EXAMPLE = "train --config training/configs/embedded.yaml steps=2000"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_config(parser)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="read no weights: say how many parameters are trained and what they take",
    )


def run(options: argparse.Namespace) -> None:
    """Train to the configured number of steps."""
    from ..config import load_config

    config = load_config(options.config, options.overrides)
    if options.dry_run:
        _outline(config)
        return
    from ..loop import Trainer

    trainer = Trainer(config)
    trainer.run()
    trainer.world.leave()


def _outline(config: TrainingConfig) -> None:
    from ..loop import split_calibration
    from ..networks import build_network, footprint
    from ..records import data_folder, read_training_records

    records = read_training_records(data_folder(config.data), config.more_data)
    training, _ = split_calibration(records, config.calibration_fraction)
    found = footprint(build_network(config, training, outline=True).model)
    print(f"{len(training)} training images, {config.steps} steps of {config.batch_size} samples")
    print(f"{found.trained / 1e6:.1f} million parameters trained, {found.frozen / 1e6:.1f} frozen")
    print(f"{found.gibibytes:.1f} GiB on each device before activations (whole, not sharded)")
