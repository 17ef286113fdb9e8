"""What a run saves: all that it takes to go on, independent of how many processes share it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from Sim4SegCore.errors import Sim4SegError

from .average import WeightAverage
from .parallel import World, gathered, scattered

STATE_FILE = "state.pt"
BEST_FILE = "best.pt"


def collect(
    step: int,
    model: nn.Module,
    average: WeightAverage,
    optimizer: torch.optim.Optimizer,
    best_loss: float | None,
    looks_since_best: int,
) -> dict[str, Any]:
    """The whole state on the CPU; every process has to take part.

    Frozen weights are left out: they come from where they came from.
    """
    trained = {n: gathered(p) for n, p in model.named_parameters() if p.requires_grad}
    moments = [
        {key: gathered(value) for key, value in optimizer.state.get(p, {}).items()}
        for p in _parameters(optimizer)
    ]
    return {
        "step": step,
        "model": trained,
        "average": {name: gathered(value) for name, value in average.values.items()},
        "buffers": {n: b.detach().cpu() for n, b in model.named_buffers()},
        "moments": moments,
        "best_loss": best_loss,
        "looks_since_best": looks_since_best,
    }


def write(state: dict[str, Any], path: Path, world: World) -> None:
    """Write under a temporary name, then rename: a kill loses nothing.

    Raises:
        Sim4SegError: if the disk is full or read-only; the state before stays.
    """
    if world.is_main:
        temporary = path.with_suffix(".partial")
        try:
            torch.save(state, temporary)
        except (OSError, RuntimeError) as error:  # torch's own writer raises RuntimeError
            temporary.unlink(missing_ok=True)
            # torch's writer tells of a full disk by a position that it did not reach.
            full = "inline_container" in str(error)
            reason = "the disk seems to be full" if full else _first_line(error)
            raise Sim4SegError(f"cannot write {path}: {reason}; what was saved is kept") from None
        temporary.replace(path)
    world.wait()


def read(path: Path) -> dict[str, Any]:
    """A saved state.

    Raises:
        Sim4SegError: if there is none, or it is damaged.
    """
    if not path.is_file():
        raise Sim4SegError(f"no saved state in {path.parent}; run train first")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError) as error:
        raise Sim4SegError(f"{path} is damaged: {_first_line(error)}") from None
    return state


@torch.no_grad()
def restore(
    state: dict[str, Any],
    model: nn.Module,
    average: WeightAverage,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Put a state back; parameters may be laid out otherwise than when it was collected.

    Raises:
        Sim4SegError: if it belongs to a model with other parameters.
    """
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    fit(state["model"], parameters)
    for name, parameter in parameters.items():
        parameter.copy_(scattered(state["model"][name], parameter))
        average.values[name].copy_(scattered(state["average"][name], parameter))
    buffers = dict(model.named_buffers())
    for name, value in state["buffers"].items():
        buffers[name].copy_(value)
    for trained, moments in zip(_parameters(optimizer), state["moments"], strict=True):
        optimizer.state[trained] = {
            key: scattered(value, trained) if value.shape == trained.shape else value
            for key, value in moments.items()
        }


def fit(saved: dict[str, Tensor], parameters: dict[str, nn.Parameter]) -> None:
    """Check that a state belongs to a model.

    Raises:
        Sim4SegError: naming the first parameter that differs.
    """
    for name in sorted(saved.keys() ^ parameters.keys()):
        raise Sim4SegError(f"the saved state is of another model: {name} is in only one of them")
    for name, parameter in parameters.items():
        if saved[name].shape != parameter.shape:
            raise Sim4SegError(f"the saved state is of another model: {name} has another shape")


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _first_line(error: Exception) -> str:
    return re.split(r"[\n\r]", str(error).strip() or type(error).__name__, maxsplit=1)[0]
