"""Write diagnosis chains of thought and criticise them; goes on where a run was stopped.

What the critic rejects is written again with its reasons, and so is what people reject in
`run.py review`: run this command again after a review.
"""

from __future__ import annotations

import argparse

from .arguments import add_config

SUMMARY = "write chains of thought for the data's images, criticised and ready for review"
EXAMPLE = "cot --config training/configs/cot.yaml"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_config(parser)


def run(options: argparse.Namespace) -> None:
    """Bring every query to acceptance or to its last round."""
    from tqdm import tqdm

    from ..cot.build import build_run
    from ..cot.config import CotConfig
    from ..settings import load

    config = load(CotConfig, options.config, options.overrides)
    made = build_run(config)
    try:
        with tqdm(total=len(made.items), unit="query") as bar:
            made.pipeline.run(made.items, config.workers, bar.update)
    finally:
        latest = made.pipeline.latest
        accepted = sum(attempt.verdict.accepted for attempt in latest)
        print(f"{accepted} accepted by the critic, {len(latest) - accepted} rejected")
        if made.costs is not None:
            print(made.costs.summary)
        made.close()
    print(f"in {config.output}; look at them with: run.py review output={config.output}")
