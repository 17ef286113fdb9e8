"""Train a plain U-Net and a plain classifier on the model's own sampling, and compare all three."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import positive

SUMMARY = "train a plain U-Net and classifier alike and compare the model with them"
EXAMPLE = "baseline --config training/configs/baseline.yaml --split val"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--config", type=Path, required=True, help="YAML file of the baselines")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--split", default="val")
    parser.add_argument(
        "--limit", type=positive, default=1, help="only every n-th image, to be quick"
    )
    parser.add_argument("--model", help="checkpoint folder (default: the embedded one)")
    parser.add_argument(
        "--evaluation",
        type=Path,
        help="take the model's answers from this folder of `evaluate --to`, instead of asking it",
    )


def run(options: argparse.Namespace) -> None:
    """Do what is not done yet and print the comparison."""
    from ..baseline.config import load_baseline
    from ..baseline.running import Asked, run_baseline

    config = load_baseline(options.config, options.overrides)
    asked = Asked(options.split, options.limit, options.model, options.evaluation)
    print(run_baseline(config, asked))
