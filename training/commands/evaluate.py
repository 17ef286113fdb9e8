"""Evaluate a checkpoint on a split, through the predictor that users run."""

from __future__ import annotations

import argparse

from .arguments import add_evaluated, load_evaluated

SUMMARY = "ask a checkpoint every question of a split and print a table"
EXAMPLE = "evaluate --model my-model --split val --to runs/evaluation"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_evaluated(parser, "tables, plots and the worst cases")
    parser.add_argument(
        "--update-card", action="store_true", help="write the metrics into the model's card.json"
    )


def run(options: argparse.Namespace) -> None:
    """Evaluate, print the table, write what was asked for."""
    from Sim4SegCore.modeling.checkpoint import resolve_folder

    from ..evaluation import (
        WorstCases,
        evaluate,
        markdown,
        summarise,
        ungated,
        write_evaluation,
    )
    from ..export import add_metrics

    predictor, records, folder = load_evaluated(options)
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
