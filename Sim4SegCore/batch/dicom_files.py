"""Reads exactly the files of one DICOM series, whatever else lies beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..case import Case
from ..io.problems import cannot_read
from ..io.quiet import quiet_python

if TYPE_CHECKING:
    from ..io.dicom_header import Header


def read_series_slice(folder: Path, files: Sequence[Path], slice_index: int | None) -> Case:
    """One slice, as `io.read_case` reads it from a folder with nothing else in it.

    Args:
        folder: where the files lie, for messages.

    Raises:
        Sim4SegError: as `io.read_case`, and if a file has gone.
    """
    from ..io.dicom_folder import read_slice

    with quiet_python():
        return read_slice(folder, _headers(folder, files), slice_index)


def _headers(folder: Path, files: Sequence[Path]) -> list[Header]:
    from ..io.dicom_folder import headers_of

    headers = headers_of(files)
    lost = len(files) - len(headers)
    if lost:
        raise cannot_read(
            folder,
            f"{lost} of the {len(files)} files of the series have gone or are damaged; "
            "run the batch again",
        )
    return headers
