"""What a cohort is: a folder of images, a tree of DICOM files, or a table that lists them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import Sim4SegError
from ..io import explain_os_error, quoted
from ..io.suffixes import (
    METAIMAGE_SUFFIXES,
    NIFTI_SUFFIXES,
    NRRD_SUFFIXES,
    PICTURE_SUFFIXES,
)
from .csv_rows import Row, read_rows, refuse_if_any
from .queries import NamedQuery

_VOLUME_SUFFIXES = NIFTI_SUFFIXES + NRRD_SUFFIXES + METAIMAGE_SUFFIXES


@dataclass(frozen=True)
class Study:
    """One image of a cohort; that it can be read is only known later.

    Attributes:
        id: unique in the cohort, the same in every run.
        image: where it is, relative to the cohort's folder, or as the table says.
        source: file, or folder of DICOM files.
        slice_index: as `io.read_case` takes it.
        queries: asked about this study alone; if empty, the cohort's queries are asked.
        files: of one DICOM series, which may share the folder; empty where `source` says it all.
    """

    id: str
    image: str
    source: Path
    slice_index: int | None = None
    queries: tuple[NamedQuery, ...] = ()
    files: tuple[Path, ...] = ()


def find_studies(
    place: Path, slice_index: int | None = None, leave_out: Path | None = None
) -> tuple[Study, ...]:
    """All studies of a cohort, in an order that depends on their names alone.

    Args:
        place: a folder, searched recursively, or a CSV file with the column `image` and, if
            wanted, `id`, `query`, `name` (of the query) and `slice`; its relative paths start
            at the file's own folder.
        slice_index: for volumes, multi-frame DICOM files and DICOM series that the table does
            not give one.
        leave_out: a folder not to search, such as the output of an earlier batch.

    Raises:
        Sim4SegError: if there is nothing at `place`, or the table is ambiguous.
    """
    if place.is_dir():
        studies = _search(place, slice_index, leave_out)
    elif place.suffix.lower() in (".csv", ".tsv"):
        studies = read_study_table(place, slice_index)
    elif place.exists():
        raise Sim4SegError(f"{quoted(place)} is neither a folder nor a CSV file of studies")
    else:
        raise Sim4SegError(f"there is no folder or file {quoted(place)}; check the path")
    if not studies:
        raise Sim4SegError(f"the folder {quoted(place)} holds no image that can be read")
    return tuple(sorted(studies, key=lambda study: study.id))


# --------------------------------------------------------------------------- folders


def _search(root: Path, slice_index: int | None, leave_out: Path | None) -> list[Study]:
    from .dicom_studies import dicom_studies, may_be_dicom, tell_apart

    pictures: list[Study] = []
    candidates: list[Path] = []
    for file in _walk(root, leave_out):
        name = file.name.lower()
        inside = file.relative_to(root).as_posix()
        if name.endswith(PICTURE_SUFFIXES):
            pictures.append(Study(inside, inside, file))
        elif name.endswith(_VOLUME_SUFFIXES):
            pictures.append(Study(inside, inside, file, slice_index))
        elif may_be_dicom(file):
            candidates.append(file)
    return pictures + tell_apart(dicom_studies(root, candidates, slice_index))


def _walk(root: Path, leave_out: Path | None) -> Iterator[Path]:
    """Regular files of all folders, hidden ones left out."""

    def refuse(error: OSError) -> None:
        # A folder that is passed over in silence would be a study lost.
        raise explain_os_error(error, Path(error.filename or root), "read") from None

    hidden = None if leave_out is None else leave_out.resolve()
    for folder, subfolders, names in os.walk(root, onerror=refuse):
        here = Path(folder)
        subfolders[:] = sorted(
            name
            for name in subfolders
            if not name.startswith(".") and (here / name).resolve() != hidden
        )
        files = [here / name for name in sorted(names) if not name.startswith(".")]
        yield from (file for file in files if file.is_file())


# --------------------------------------------------------------------------- tables


def read_study_table(path: Path, slice_index: int | None) -> list[Study]:
    """Lines that agree in id, image and slice are one study with several queries.

    Raises:
        Sim4SegError: with the line numbers of all that is wrong.
    """
    studies: dict[str, Study] = {}
    problems: list[str] = []
    for row in read_rows(path, required="image"):
        try:
            study = _study(path.parent, row, slice_index)
            before = studies.get(study.id)
            studies[study.id] = study if before is None else _join(before, study)
        except Sim4SegError as error:
            problems.append(f"line {row.line}: {error}")
    refuse_if_any(path, problems)
    return list(studies.values())


def _study(folder: Path, row: Row, slice_index: int | None) -> Study:
    if not row["image"]:
        raise Sim4SegError("the column 'image' is empty")
    if row["slice"]:
        if not row["slice"].isascii() or not row["slice"].isdigit():
            raise Sim4SegError(f"the slice '{row['slice']}' is not a number from 0")
        slice_index = int(row["slice"])
    elif row["image"].lower().endswith(PICTURE_SUFFIXES):
        slice_index = None
    query = (NamedQuery.of(row["query"], row["name"]),) if row["query"] else ()
    source = folder / row["image"]
    return Study(row["id"] or row["image"], row["image"], source, slice_index, query)


def _join(first: Study, second: Study) -> Study:
    if (first.image, first.slice_index) != (second.image, second.slice_index):
        raise Sim4SegError(f"the id '{second.id}' is already that of another image or slice")
    if not (first.queries and second.queries):
        raise Sim4SegError(f"the study '{second.id}' is there twice")
    names = {query.name for query in first.queries}
    if second.queries[0].name in names:
        raise Sim4SegError(
            f"the study '{second.id}' has two queries with one name; use the column 'name'"
        )
    return Study(
        first.id, first.image, first.source, first.slice_index, first.queries + second.queries
    )
