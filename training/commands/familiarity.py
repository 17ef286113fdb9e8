"""Fit what tells unfamiliar images apart to a checkpoint, and write it there; takes two minutes."""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "fit what tells unfamiliar images apart to a checkpoint, and write it there"
EXAMPLE = "familiarity --model my-model --exposed ../shared/volumes/ct/dicom_series"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--model", help="checkpoint folder (default: the embedded one)")
    parser.add_argument("--data", help="folder with m3ds/ (default: SIM4SEG_DATA)")
    parser.add_argument(
        "--exposed",
        nargs="*",
        type=Path,
        default=[],
        help="images, volumes or folders of what the model was not trained on, to be shown too",
    )
    parser.add_argument(
        "--familiar",
        nargs="*",
        type=Path,
        default=[],
        help="of what it was trained on besides the sets, such as a folder of volumes",
    )


def run(options: argparse.Namespace) -> None:
    """Fit, write, and say what the limit is."""
    from Sim4SegCore.modeling.checkpoint import load_model, resolve_folder
    from Sim4SegCore.modeling.familiarity_file import save_familiarity

    from ..config import TrainingConfig
    from ..familiarity.fitting import fit_familiarity
    from ..loop import split_calibration
    from ..records import data_folder, read_records

    place, folder = resolve_folder(options.model), data_folder(options.data)
    fraction = TrainingConfig().calibration_fraction
    training, held_out = split_calibration(read_records(folder, "train"), fraction)
    lvlm = load_model(place).lvlm
    judge = fit_familiarity(lvlm, training, held_out, folder, options.exposed, options.familiar)
    print(f"{save_familiarity(judge, place)}: limit {judge.limit:g}")
