"""Measure test-time scaling: more answers and masks per question, combined in every way."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import positive

SUMMARY = "measure what several answers and masks per question bring"
EXAMPLE = "scaling --split val --sets BUSI PH2 --to runs/scaling"
TABLE_FILE, FIGURE_FILE = "scaling.md", "scaling.png"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--model", help="checkpoint folder (default: the embedded one)")
    parser.add_argument("--split", default="val")
    parser.add_argument("--sets", nargs="+", metavar="SET", help="only these sets")
    parser.add_argument("--to", type=Path, help="folder for the table and the plot")
    parser.add_argument("--overwrite", action="store_true", help="replace what --to holds")
    parser.add_argument("--limit", type=positive, help="only every n-th image, to be quick")
    parser.add_argument("--seed", type=int, default=0, help="of the sampled answers")
    parser.add_argument("--device", default="auto")


def run(options: argparse.Namespace) -> None:
    """Evaluate, print the table, write what was asked for."""
    from Sim4SegCore import Sim4Seg
    from Sim4SegCore.output import check_output_folder
    from Sim4SegCore.rendering import save_png

    from ..evaluation import check_records, ungated
    from ..evaluation.scaling import evaluate_scaling, scaling_table
    from ..evaluation.scaling_plot import scaling_figure
    from ..records import data_folder, read_records, select_sets

    if options.to is not None:
        check_output_folder(options.to, options.overwrite)
    folder = data_folder()
    records = select_sets(read_records(folder, options.split), options.sets)
    records = records[:: options.limit or 1]
    predictor = Sim4Seg.from_pretrained(options.model, device=options.device)
    check_records(predictor, records)
    rows = evaluate_scaling(ungated(predictor), records, folder, options.seed)
    table = scaling_table(rows)
    print(table)
    if options.to is not None:
        options.to.mkdir(parents=True, exist_ok=True)
        (options.to / TABLE_FILE).write_text(table + "\n", encoding="utf-8")
        save_png(scaling_figure(rows), options.to / FIGURE_FILE)
