"""Measure test-time scaling: more answers and masks per question, combined in every way."""

from __future__ import annotations

import argparse

from .arguments import add_evaluated, load_evaluated

SUMMARY = "measure what several answers and masks per question bring"
EXAMPLE = "scaling --split val --sets BUSI PH2 --to runs/scaling"
TABLE_FILE, FIGURE_FILE, TRUST_FILE = "scaling.md", "scaling.png", "reliability.png"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_evaluated(parser, "the table and the plots")
    parser.add_argument("--seed", type=int, default=0, help="of the sampled answers")


def run(options: argparse.Namespace) -> None:
    """Evaluate, print the table, write what was asked for."""
    from Sim4SegCore.figures import save_figure

    from ..evaluation import ungated
    from ..evaluation.scaling import evaluate_scaling, scaling_table
    from ..evaluation.scaling_plot import scaling_figure, trust_figure

    predictor, records, folder = load_evaluated(options)
    threshold = predictor.model.config.presence_threshold
    rows = evaluate_scaling(ungated(predictor), records, folder, threshold, options.seed)
    table = scaling_table(rows)
    print(table)
    if options.to is not None:
        options.to.mkdir(parents=True, exist_ok=True)
        (options.to / TABLE_FILE).write_text(table + "\n", encoding="utf-8")
        save_figure(scaling_figure(rows), options.to / FIGURE_FILE)
        save_figure(trust_figure(rows), options.to / TRUST_FILE)
