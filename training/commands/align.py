"""Align the network of `--mode volume` with a checkpoint's [SEG] states; takes minutes."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_config

SUMMARY = "fit the network of volumetric inference to a checkpoint, and write it there"
EXAMPLE = "align --config training/configs/volumetric.yaml --model my-model"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_config(parser)
    parser.add_argument("--model", help="checkpoint folder (default: the embedded one)")
    parser.add_argument(
        "--network",
        type=Path,
        help="`volumetric` folder of another checkpoint to start from "
        "(default: the run that the configuration names)",
    )
    parser.add_argument(
        "--to", type=Path, help="folder to write (default: `volumetric` of the checkpoint)"
    )


def run(options: argparse.Namespace) -> None:
    """Align, write, and say how well queries are understood."""
    import torch

    from Sim4SegCore.modeling.checkpoint import load_model, resolve_folder
    from Sim4SegCore.modeling.volumetric_source import VOLUMETRIC_FOLDER

    from ..volumetric.config import load_volumetric_config
    from ..volumetric.export import describe, network_of_run, stored_network, write_aligned

    config = load_volumetric_config(options.config, options.overrides)
    torch.set_num_threads(config.threads)
    place = resolve_folder(options.model)
    if options.network is not None:
        network, card = stored_network(options.network)
    else:
        network, card = network_of_run(config)
    target = options.to or place / VOLUMETRIC_FOLDER
    alignment = write_aligned(network, card, load_model(place), config, target)
    print(f"{target}: {describe(alignment, network.config.targets)}")
