"""The precision that a training step computes in."""

from __future__ import annotations

import contextlib

from torch import Tensor

from Sim4SegCore.modeling.precision import fast_precision


def step_precision(weight: Tensor, bfloat16: bool) -> contextlib.AbstractContextManager[object]:
    """bfloat16 where it is asked for and the weight's device has it natively."""
    return fast_precision(weight) if bfloat16 else contextlib.nullcontext()
