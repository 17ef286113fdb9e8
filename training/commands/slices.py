"""Cut labelled volumes into pictures that `prepare` takes, as slice-wise inference shows them."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import positive

SUMMARY = "cut labelled volumes into pictures and a records.csv for `prepare`"
EXAMPLE = (
    "slices ~/Task04_Hippocampus --to downloads/Hippocampus --target hippocampus "
    "--modality MRI --body-part brain --licence 'CC BY-SA 4.0'"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("source", type=Path, help="folder with images/NAME and labels/NAME")
    parser.add_argument("--to", type=Path, required=True, help="new folder for the pictures")
    parser.add_argument("--target", required=True, help="the labelled structure")
    parser.add_argument("--modality", required=True, help="CT, MRI, …")
    parser.add_argument("--body-part", required=True)
    parser.add_argument("--licence", required=True)
    parser.add_argument("--split", default="train", choices=("train", "val", "test"))
    parser.add_argument("--every", type=positive, default=3, help="only every n-th slice")
    parser.add_argument("--overwrite", action="store_true", help="replace what --to holds")


def run(options: argparse.Namespace) -> None:
    """Cut, and say how it goes on."""
    from ..slices import SlicesConfig, write_slices

    config = SlicesConfig(
        target=options.target,
        modality=options.modality,
        body_part=options.body_part,
        licence=options.licence,
        split=options.split,
        every=options.every,
    )
    count = write_slices(options.source, options.to, config, options.overwrite)
    print(f"{count} slices in {options.to}; name it as a set of kind csv in a `prepare` file")
