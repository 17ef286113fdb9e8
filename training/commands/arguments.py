"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_config(parser: argparse.ArgumentParser) -> None:
    """`--config FILE` and `key=value …` that override it."""
    parser.add_argument("--config", type=Path, help="YAML file (default: built-in values)")
    parser.add_argument("overrides", nargs="*", metavar="key=value")


def positive(text: str) -> int:
    """A whole number above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value
