"""Evaluate a checkpoint on a split, through the predictor that users run."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import positive

SUMMARY = "ask a checkpoint every question of a split and print a table"
EXAMPLE = "evaluate --model my-model --split val --to runs/evaluation"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--model", help="checkpoint folder (default: the embedded one)")
    parser.add_argument("--split", default="val")
    parser.add_argument("--sets", nargs="+", metavar="SET", help="only these sets")
    parser.add_argument("--to", type=Path, help="folder for tables, plots and the worst cases")
    parser.add_argument("--overwrite", action="store_true", help="replace what --to holds")
    parser.add_argument("--limit", type=positive, help="only every n-th image, to be quick")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--update-card", action="store_true", help="write the metrics into the model's card.json"
    )


def run(options: argparse.Namespace) -> None:
    """Evaluate, print the table, write what was asked for."""
    from Sim4SegCore import Sim4Seg
    from Sim4SegCore.modeling.checkpoint import resolve_folder
    from Sim4SegCore.output import check_output_folder

    from ..evaluation import (
        WorstCases,
        check_records,
        evaluate,
        markdown,
        summarise,
        ungated,
        write_evaluation,
    )
    from ..export import add_metrics
    from ..records import data_folder, read_records, select_sets

    if options.to is not None:
        check_output_folder(options.to, options.overwrite)
    folder = data_folder()
    records = select_sets(read_records(folder, options.split), options.sets)
    records = records[:: options.limit or 1]
    predictor = Sim4Seg.from_pretrained(options.model, device=options.device)
    check_records(predictor, records)
    threshold = predictor.model.config.presence_threshold
    worst = WorstCases(folder, threshold)
    rows = evaluate(ungated(predictor), records, folder, watch=worst)
    table = summarise(rows, threshold)
    # Printed first: a disk that is full then costs files, not numbers.
    print(markdown(table))
    if options.to is not None:
        write_evaluation(options.to, rows, table, threshold, worst, options.overwrite)
    if options.update_card:
        add_metrics(resolve_folder(options.model), options.split, table)
