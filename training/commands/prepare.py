"""Turn public downloads into M3DS records: train.jsonl, val.jsonl, test.jsonl, images, masks."""

from __future__ import annotations

import argparse

from .arguments import add_config

SUMMARY = "turn public downloads into M3DS records, with statistics and a contact sheet"
EXAMPLE = (
    "prepare --config training/configs/m3ds.yaml downloads=~/downloads output=data only=[BUSI]"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_config(parser)
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an earlier build once this one is whole"
    )


def run(options: argparse.Namespace) -> None:
    """Build, then print the statistics of the sets."""
    from ..m3ds.build import build
    from ..m3ds.config import PrepareConfig
    from ..m3ds.statistics import left_out_table, sets_table
    from ..settings import load

    overrides = [*options.overrides, *(["overwrite=true"] if options.overwrite else [])]
    folder, report = build(load(PrepareConfig, options.config, overrides))
    names = list(report.skipped)
    print(sets_table(report, names))
    print(f"\nLeft out (all of it in {folder / 'skipped.csv'}):\n\n{left_out_table(report)}")
    if report.missing:
        print(f"\nNot there: {', '.join(report.missing)}")
    print(f"\n{folder / 'STATISTICS.md'}\n{folder / 'contact_sheet.png'}")
    print(f"Train on it with SIM4SEG_DATA={folder.parent}")
