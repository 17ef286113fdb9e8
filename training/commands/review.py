"""Review written chains of thought in the browser, on this machine only.

Decisions are appended to reviews.jsonl in the run's folder as they are made. Run `run.py cot`
again afterwards: what was rejected is written anew, with the reasons given.
"""

from __future__ import annotations

import argparse

from .arguments import add_config

SUMMARY = "accept, edit or reject chains of thought in the browser"
EXAMPLE = "review --config training/configs/cot.yaml"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_config(parser)
    parser.add_argument("--port", type=int, default=0, help="default: a free one")


def run(options: argparse.Namespace) -> None:
    """Serve the page until interrupted."""
    from pathlib import Path

    from ..cot.config import CotConfig
    from ..cot.loading import SubjectLoader
    from ..cot.review.server import serve
    from ..cot.review.store import ReviewStore
    from ..records import data_folder, read_records
    from ..settings import load

    config = load(CotConfig, options.config, options.overrides)
    folder = data_folder(config.data)
    records = read_records(folder, config.split)
    store = ReviewStore(Path(config.output), records, SubjectLoader(folder, records))
    try:
        serve(store, options.port)
    finally:
        store.close()
