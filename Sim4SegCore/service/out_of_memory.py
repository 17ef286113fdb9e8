"""Whether an error says that there was not enough memory."""

from __future__ import annotations


def is_out_of_memory(error: Exception) -> bool:
    """Of the host or of any kind of device, told without importing torch."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in words or "can't allocate memory" in words
    )
