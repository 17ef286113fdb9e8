"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from Sim4SegCore import Sim4Seg

    from ..records import Record


def add_config(parser: argparse.ArgumentParser) -> None:
    """`--config FILE` and `key=value …` that override it."""
    parser.add_argument("--config", type=Path, help="YAML file (default: built-in values)")
    parser.add_argument("overrides", nargs="*", metavar="key=value")


def add_evaluated(parser: argparse.ArgumentParser, written: str) -> None:
    """Which checkpoint is asked about which records, and where what is found goes.

    Args:
        written: what `--to` will hold.
    """
    _add_model_and_data(parser, written)
    parser.add_argument("--limit", type=positive, help="only every n-th image, to be quick")


def add_stressed(parser: argparse.ArgumentParser, written: str) -> None:
    """As `add_evaluated`, but a quick look takes from every set, however small."""
    _add_model_and_data(parser, written)
    parser.add_argument(
        "--every",
        type=positive,
        default=1,
        metavar="N",
        help="only every n-th image of each set, with all its questions, to be quick",
    )


def _add_model_and_data(parser: argparse.ArgumentParser, written: str) -> None:
    parser.add_argument(
        "--model", "--checkpoint", help="checkpoint folder (default: the embedded one)"
    )
    parser.add_argument("--split", default="val")
    parser.add_argument("--sets", nargs="+", metavar="SET", help="only these sets")
    parser.add_argument("--to", type=Path, help=f"folder for {written}")
    parser.add_argument("--overwrite", action="store_true", help="replace what --to holds")
    parser.add_argument("--device", default="auto")


def load_evaluated(options: argparse.Namespace) -> tuple[Sim4Seg, list[Record], Path]:
    """The predictor, the records and their folder, as `add_evaluated` was answered.

    Raises:
        Sim4SegError: if the output folder is in use, or model or records cannot be used.
    """
    records, folder = _read_records(options)
    records = records[:: options.limit or 1]
    return _load_predictor(options, records), records, folder


def load_stressed(options: argparse.Namespace) -> tuple[Sim4Seg, list[Record], Path]:
    """The same, as `add_stressed` was answered.

    Raises:
        Sim4SegError: if the output folder is in use, or model or records cannot be used.
    """
    from ..records import thin_out

    records, folder = _read_records(options)
    records = thin_out(records, options.every)
    return _load_predictor(options, records), records, folder


def _read_records(options: argparse.Namespace) -> tuple[list[Record], Path]:
    """Records of the chosen sets, once it is clear that what is found can be written."""
    from Sim4SegCore.output import check_output_folder

    from ..records import data_folder, read_records, select_sets

    if options.to is not None:
        check_output_folder(options.to, options.overwrite)
    folder = data_folder()
    return select_sets(read_records(folder, options.split), options.sets), folder


def _load_predictor(options: argparse.Namespace, records: list[Record]) -> Sim4Seg:
    from Sim4SegCore import Sim4Seg

    from ..evaluation import check_records

    predictor = Sim4Seg.from_pretrained(options.model, device=options.device)
    check_records(predictor, records)
    return predictor


def positive(text: str) -> int:
    """A whole number above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value
