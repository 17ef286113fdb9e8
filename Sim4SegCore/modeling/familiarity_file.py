"""A checkpoint's `familiarity.safetensors`: half precision, since only distances are compared."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..errors import Sim4SegError
from .familiarity import FamiliarityJudge
from .readable import open_file_to_readers

FAMILIARITY_FILE = "familiarity.safetensors"
_TENSORS = ("mean", "spread", "hidden", "hidden_bias", "output")


def load_familiarity(folder: Path) -> FamiliarityJudge | None:
    """What a checkpoint folder knows of its training images; None if it has no such file.

    Raises:
        Sim4SegError: if the file is damaged.
    """
    path = folder / FAMILIARITY_FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name).float() for name in _TENSORS}
            notes = file.metadata()
        return FamiliarityJudge(
            **tensors,
            limit=float(notes["limit"]),
            fitted_to=notes["fitted"],
            taught=tuple(notes.get("taught", "").split()),
        )
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        raise Sim4SegError(f"{path} is damaged; fetch the checkpoint again") from None


def save_familiarity(judge: FamiliarityJudge, folder: Path) -> Path:
    """Write it into a checkpoint folder, in place of an older one.

    Raises:
        Sim4SegError: if it cannot be written; the older one then stays.
    """
    path = folder / FAMILIARITY_FILE
    partial = folder / f".{FAMILIARITY_FILE}.partial"
    tensors = {name: getattr(judge, name).half().contiguous() for name in _TENSORS}
    notes = {
        "limit": repr(judge.limit),
        "fitted": judge.fitted_to,
        "taught": " ".join(judge.taught),
    }
    try:
        save_file(tensors, partial, notes)
        open_file_to_readers(partial)
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise Sim4SegError(f"cannot write {path}: {error}") from None
    return path
