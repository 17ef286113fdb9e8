"""Measure whether masks obey the query: structures, absent targets, other words."""

from __future__ import annotations

import argparse

from .arguments import add_stressed, load_stressed

SUMMARY = "measure whether masks follow the query: structures, absent targets, paraphrases"
EXAMPLE = "obedience --model my-model --every 4 --to runs/obedience"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_stressed(parser, "tables, rows and a contact sheet")


def run(options: argparse.Namespace) -> None:
    """Evaluate, print the tables, write what was asked for."""
    from ..evaluation.obedience.asking import evaluate_obedience
    from ..evaluation.obedience.plan import plan_visits
    from ..evaluation.obedience.report import obedience_markdown, write_obedience
    from ..evaluation.obedience.sheet import ContactSheet
    from ..records import annotated_targets, read_records

    predictor, records, folder = load_stressed(options)
    # What a set annotates is known from all of its images, not from the few of one split.
    annotated = annotated_targets([*read_records(folder, "train"), *records])
    visits = plan_visits(records, annotated)
    sheet = ContactSheet.of(visits)
    rows = evaluate_obedience(predictor, visits, folder, sheet)
    # Printed first: a disk that is full then costs files, not numbers.
    print(obedience_markdown(rows))
    if options.to is not None:
        write_obedience(options.to, rows, sheet, options.overwrite)
