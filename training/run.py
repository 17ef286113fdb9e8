"""Training and evaluation of Sim4Seg models.

    python training/run.py train    --config training/configs/embedded.yaml [key=value …]
    python training/run.py export   --config training/configs/embedded.yaml --to FOLDER
    python training/run.py evaluate --model FOLDER --split val --to FOLDER

`train` goes on where a killed run stopped. `export` calibrates the presence threshold on
training images that were held out, and writes a checkpoint. `evaluate` prints a table.
Data: a folder with m3ds/ named by SIM4SEG_DATA (default ../shared).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from Sim4SegCore.errors import Sim4SegError
from training.config import load_config

EXIT_USER_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command")
    for name in ("train", "export"):
        command = commands.add_parser(name)
        command.add_argument("--config", type=Path)
        command.add_argument("overrides", nargs="*", metavar="key=value")
        if name == "export":
            command.add_argument("--to", type=Path, required=True)
            command.add_argument("--note", default="", help="goes into the checkpoint's card")
    evaluate = commands.add_parser("evaluate")
    evaluate.add_argument("--model", help="checkpoint folder (default: the embedded one)")
    evaluate.add_argument("--split", default="val")
    evaluate.add_argument("--to", type=Path, help="folder for table.md, metrics.json, rows.csv")
    evaluate.add_argument("--limit", type=int, help="only every n-th image, to be quick")
    evaluate.add_argument("--device", default="auto")
    evaluate.add_argument(
        "--update-card", action="store_true", help="write the metrics into the model's card.json"
    )
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    try:
        {"train": _train, "export": _export, "evaluate": _evaluate}[options.command](options)
    except Sim4SegError as error:
        print(f"run.py: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print("run.py: interrupted; the last saved state can be continued", file=sys.stderr)
        return 130
    return 0


def _train(options: argparse.Namespace) -> None:
    from training.loop import Trainer

    Trainer(load_config(options.config, options.overrides)).run()


def _export(options: argparse.Namespace) -> None:
    from training.export import export

    export(load_config(options.config, options.overrides), options.to, options.note)


def _evaluate(options: argparse.Namespace) -> None:
    from Sim4SegCore import Sim4Seg
    from Sim4SegCore.modeling.checkpoint import resolve_folder
    from training.evaluation import evaluate, markdown, summarise, ungated, write_evaluation
    from training.export import add_metrics
    from training.records import data_folder, read_records

    folder = data_folder()
    records = read_records(folder, options.split)[:: options.limit or 1]
    predictor = Sim4Seg.from_pretrained(options.model, device=options.device)
    threshold = predictor.model.config.presence_threshold
    rows = evaluate(ungated(predictor), records, folder)
    table = summarise(rows, threshold)
    if options.to is not None:
        write_evaluation(options.to, rows, table, threshold)
    if options.update_card:
        add_metrics(resolve_folder(options.model), options.split, table)
    print(markdown(table))


if __name__ == "__main__":
    sys.exit(main())
