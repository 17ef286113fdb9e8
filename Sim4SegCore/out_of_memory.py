"""Whether an error says that there was not enough memory."""

from __future__ import annotations

_WORDS = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")
"""What torch, CUDA and its libraries, and Apple's GPUs say in plain RuntimeErrors."""


def is_out_of_memory(error: BaseException) -> bool:
    """Of the host or of any kind of device, told without importing torch."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in said for words in _WORDS)
