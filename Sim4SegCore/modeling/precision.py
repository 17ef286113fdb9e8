"""Half precision where it is faster and needs no other weights."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor


def fast_precision(weight: Tensor) -> contextlib.AbstractContextManager[object]:
    """Computing in bfloat16, where weights are float32 and their device does so natively: GPUs
    from Ampere on, and CPUs with AVX512-BF16. Elsewhere in the weights' own precision.
    """
    device = weight.device
    if weight.dtype == torch.float32 and _has_native_bfloat16(device):
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()


def _has_native_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return device.type == "cpu" and probe is not None and bool(probe())
