"""Draw masks of training images that have none, for self-training."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_config

SUMMARY = "draw masks of training images that have none, for `train drawn_masks=…`"
EXAMPLE = "draw --config training/configs/embedded.yaml --to runs/drawn"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_config(parser)
    parser.add_argument("--model", help="checkpoint that draws (default: the embedded one)")
    parser.add_argument("--to", type=Path, required=True, help="folder for the masks")
    parser.add_argument(
        "--least", type=_fraction, default=0.8, help="keep masks of which it expects this Dice"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what --to holds")


def run(options: argparse.Namespace) -> None:
    """Draw, and say how many were kept."""
    from ..config import load_config
    from ..drawing import draw_masks

    config = load_config(options.config, options.overrides)
    drawn = draw_masks(config, options.model, options.to, options.least, options.overwrite)
    print(f"{drawn.kept} masks of {drawn.asked} images in {options.to}")
    print(f"Train on them with drawn_masks={options.to}")


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not within 0..1")
    return value
