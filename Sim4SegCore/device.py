"""Which device to compute on."""

from __future__ import annotations

import re

import torch

from .errors import Sim4SegError


def resolve_device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda`, `cuda:1`, `mps` to a device.

    Raises:
        Sim4SegError: if the name is no device, or the device is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
        raise Sim4SegError(f"unknown device '{name}'; use auto, cpu, cuda, cuda:N or mps")
    if name == "mps" and not torch.backends.mps.is_available():
        raise Sim4SegError("no Apple GPU (mps) here; use --device cpu")
    if name.startswith("cuda"):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(name.partition(":")[2] or 0) >= count:
            raise Sim4SegError(
                f"{name} is not there ({count} CUDA devices found); use --device cpu"
            )
    return torch.device(name)
