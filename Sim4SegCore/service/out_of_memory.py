"""See `Sim4SegCore.out_of_memory`."""

from __future__ import annotations

from ..out_of_memory import is_out_of_memory

__all__ = ["is_out_of_memory"]
