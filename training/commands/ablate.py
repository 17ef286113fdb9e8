"""Train, export and evaluate variants of one configuration, and compare them."""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "train variants of one configuration and compare them, beside the paper's numbers"
EXAMPLE = "ablate --config training/configs/ablation.yaml --resume"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--config", type=Path, required=True, help="YAML file of the ablation")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument(
        "--resume", action="store_true", help="go on in an output that was begun before"
    )


def run(options: argparse.Namespace) -> None:
    """Do what is not done yet and print the comparison."""
    from ..ablation.config import load_ablation
    from ..ablation.running import run_ablation

    print(run_ablation(load_ablation(options.config, options.overrides), options.resume))
