"""Measure what compression, light, rotation and resolution do to the masks of a checkpoint."""

from __future__ import annotations

import argparse

from .arguments import add_stressed, load_stressed

SUMMARY = "ask for every finding in changed images and print what each change costs"
EXAMPLE = "robustness --model my-model --every 4 --to runs/robustness"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_stressed(parser, "tables, rows and a bar plot")


def run(options: argparse.Namespace) -> None:
    """Evaluate, print the tables, write what was asked for."""
    from ..evaluation.robustness.asking import evaluate_robustness
    from ..evaluation.robustness.report import write_robustness
    from ..evaluation.robustness.tables import robustness_markdown

    predictor, records, folder = load_stressed(options)
    rows = evaluate_robustness(predictor, records, folder)
    # Printed first: a disk that is full then costs files, not numbers.
    print(robustness_markdown(rows))
    if options.to is not None:
        write_robustness(options.to, rows, options.overwrite)
