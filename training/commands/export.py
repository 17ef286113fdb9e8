"""Write a run's averaged weights as an inference checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_config

SUMMARY = "write a run's averaged weights as an inference checkpoint, thresholds calibrated"
EXAMPLE = "export --config training/configs/embedded.yaml --to my-model"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_config(parser)
    parser.add_argument("--to", type=Path, required=True, help="new folder for the checkpoint")
    parser.add_argument(
        "--segmenter-of",
        type=Path,
        nargs="+",
        default=[],
        metavar="RUN",
        help="folders of other runs, whose segmenters are averaged with this one's",
    )
    parser.add_argument("--note", default="", help="goes into the checkpoint's card")


def run(options: argparse.Namespace) -> None:
    """Export the run that the configuration names."""
    from ..config import load_config
    from ..export import export

    config = load_config(options.config, options.overrides)
    export(config, options.to, options.note, options.segmenter_of)
