"""Reads exactly the files of one DICOM series, whatever else lies beside them."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ..case import Case
from ..io import explain_os_error, read_volume_case
from ..io.problems import cannot_read
from ..io.quiet import quiet_python
from ..volume import VolumeCase


def read_series_slice(folder: Path, files: Sequence[Path], slice_index: int | None) -> Case:
    """One slice, as `io.read_case` reads it from a folder with nothing else in it.

    Args:
        folder: where the files lie, for messages.

    Raises:
        Sim4SegError: as `io.read_case`, and if a file has gone.
    """
    from ..io.dicom_folder import headers_of, read_slice

    _check_all_there(folder, files)
    with quiet_python():
        return read_slice(folder, headers_of(files), slice_index)


def read_series_volume(folder: Path, files: Sequence[Path]) -> VolumeCase:
    """All slices, as `io.read_volume_case` reads them from a folder with nothing else in it.

    Args:
        folder: where the files lie; it becomes the volume's source.

    Raises:
        Sim4SegError: as `io.read_volume_case`, and if a file has gone.
    """
    _check_all_there(folder, files)
    with _alone(folder, files) as place:
        return replace(read_volume_case(place), source=folder)


def _check_all_there(folder: Path, files: Sequence[Path]) -> None:
    gone = sum(not file.is_file() for file in files)
    if gone:
        raise cannot_read(
            folder, f"{gone} of the {len(files)} files of the series have gone; run the batch again"
        )


@contextlib.contextmanager
def _alone(folder: Path, files: Sequence[Path]) -> Iterator[Path]:
    """A folder with nothing but these files; of the same name, since messages quote it."""
    with tempfile.TemporaryDirectory(prefix="sim4seg-", ignore_cleanup_errors=True) as home:
        place = Path(home) / (folder.resolve().name or "series")
        try:
            place.mkdir()
            for number, file in enumerate(files):
                _link(file, place / f"{number}-{file.name}")
        except OSError as error:
            raise explain_os_error(error, Path(home), "write") from None
        yield place


def _link(file: Path, place: Path) -> None:
    try:
        place.symlink_to(file.absolute())
    except OSError:
        # Windows lets few users make links.
        shutil.copyfile(file, place)
