"""Measure how many images of a split, and how many others, are called outside the training."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import positive

SUMMARY = "measure how many familiar and unfamiliar images are called outside the training"
EXAMPLE = "outside --images ../shared/volumes/ct/thorax_abdomen_3mm.nii.gz"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--model", help="checkpoint folder (default: the embedded one)")
    parser.add_argument("--split", default="val")
    parser.add_argument("--limit", type=positive, help="only every n-th image, to be quick")
    parser.add_argument("--changed", action="store_true", help="changed versions of the split too")
    parser.add_argument(
        "--images",
        nargs="*",
        type=Path,
        default=[],
        help="images, volumes or folders of your own, each a line of the table",
    )


def run(options: argparse.Namespace) -> None:
    """Judge everything and print the tables."""
    from itertools import chain

    from Sim4SegCore.modeling.checkpoint import load_model, resolve_folder

    from ..familiarity.measuring import FamiliarityMeter, shares_table
    from ..familiarity.outside_images import measured_images
    from ..familiarity.own_images import own_images
    from ..records import data_folder, read_records

    meter = FamiliarityMeter(load_model(resolve_folder(options.model)))
    folder = data_folder()
    records = read_records(folder, options.split)[:: options.limit or 1]
    others = chain(measured_images(), own_images(options.images))
    print(shares_table("outside", meter.of_others(others)), flush=True)
    print("\n" + shares_table(options.split, meter.of_records(records, folder)), flush=True)
    if options.changed:
        title = f"{options.split}, changed"
        print("\n" + shares_table(title, meter.of_changed_records(records, folder)))
