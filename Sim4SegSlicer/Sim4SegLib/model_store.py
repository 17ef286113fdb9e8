"""Models of the user's own on this computer: imported from zip files, or downloaded by the service.

Both lie in one private folder, so that one button can say how large they are and remove them.
"""

from __future__ import annotations

import json
import re
import shutil
import struct
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from Sim4SegCore.errors import Sim4SegError

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
SECTIONS = ("lvlm", "segmenter")
PICKLES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth", ".npy", ".npz")
HUB_CACHE_VARIABLE = "HF_HUB_CACHE"
_AT_ONCE = 8 << 20
_HEADER_LIMIT = 100 << 20
_FILE_KINDS = {0, 0o100000}
"""Of a zip entry's mode: unknown, or a regular file; links and devices are others."""
Progress = Callable[[float], None]


class ModelStore:
    """The folder; created when first written to."""

    def __init__(self, folder: Path) -> None:
        self._models = folder / "models"
        self.hub_cache = folder / "hub"

    def names(self) -> list[str]:
        """Of imported models."""
        if not self._models.is_dir():
            return []
        return sorted(
            path.name for path in self._models.iterdir() if (path / CONFIG_FILE).is_file()
        )

    def size(self) -> int:
        """Bytes of everything."""
        roots = (self._models, self.hub_cache)
        files = (path for root in roots if root.is_dir() for path in root.rglob("*"))
        return sum(path.lstat().st_size for path in files if not path.is_dir())

    def clear(self) -> None:
        """Remove everything.

        Raises:
            Sim4SegError: if a file is in use.
        """
        try:
            for root in (self._models, self.hub_cache):
                if root.exists():
                    shutil.rmtree(root)
        except OSError as error:
            raise Sim4SegError(
                f"the models cannot be removed ({error.strerror}); restart Slicer and try again"
            ) from None

    def import_zip(self, path: Path, progress: Progress = lambda fraction: None) -> Path:
        """Unpack a checkpoint, completely or not at all.

        Args:
            path: a zip file with a checkpoint folder, or with its files at the top.
            progress: hears the fraction that is done; what it raises ends the import.

        Returns:
            The model's folder.

        Raises:
            Sim4SegError: if it is no zip file, is damaged, or holds no checkpoint or what none
                needs, such as pickles.
        """
        staging = self._models / f".{uuid.uuid4().hex}"
        try:
            with zipfile.ZipFile(path) as archive:
                entries = _entries(archive)
                root = _root(entries)
                self._check_space(entries)
                _unpack(archive, entries, root, staging, progress)
            _check_checkpoint(staging)
            folder = self._new_folder(root.name or path.stem)
            staging.rename(folder)
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError):
            raise Sim4SegError(f"{path.name} is no complete zip file; copy it again") from None
        except OSError as error:
            raise Sim4SegError(
                f"the model cannot be imported ({error.strerror}); check the disk and the file"
            ) from None
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return folder

    def _check_space(self, entries: list[zipfile.ZipInfo]) -> None:
        self._models.mkdir(parents=True, exist_ok=True)
        needed = sum(entry.file_size for entry in entries)
        if needed > shutil.disk_usage(self._models).free:
            raise Sim4SegError(
                f"the model needs {needed / 1e9:.1f} GB, more than the disk has; make room"
            )

    def _new_folder(self, name: str) -> Path:
        plain = re.sub(r"[^\w.-]+", "_", name).strip("._") or "model"
        folder, number = self._models / plain, 2
        while folder.exists():
            folder, number = self._models / f"{plain}_{number}", number + 1
        return folder


def _entries(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The files, none of which leads elsewhere or can run code when it is loaded."""
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    for entry in entries:
        parts = PurePosixPath(entry.filename.replace("\\", "/")).parts
        is_outside = not parts or parts[0] == "/" or ".." in parts or ":" in parts[0]
        if is_outside or (entry.external_attr >> 16) & 0o170000 not in _FILE_KINDS:
            raise Sim4SegError("the zip file has files that lead out of it; do not trust it")
        if entry.filename.lower().endswith(PICKLES):
            raise Sim4SegError(
                "the zip file holds pickles, which can run anything when they are loaded; "
                "only safetensors are imported"
            )
    return entries


def _root(entries: list[zipfile.ZipInfo]) -> PurePosixPath:
    """The folder of the checkpoint in the zip file."""
    paths = [PurePosixPath(entry.filename) for entry in entries]
    holds_weights = {each.parent for each in paths if each.name == WEIGHTS_FILE}
    roots = [each.parent for each in paths if each.name == CONFIG_FILE]
    roots = sorted((root for root in roots if root in holds_weights), key=lambda r: len(r.parts))
    if not roots:
        raise Sim4SegError(
            f"the zip file holds no checkpoint: {CONFIG_FILE} and {WEIGHTS_FILE} in one folder"
        )
    return roots[0]


def _unpack(
    archive: zipfile.ZipFile,
    entries: list[zipfile.ZipInfo],
    root: PurePosixPath,
    target: Path,
    progress: Progress,
) -> None:
    wanted = [entry for entry in entries if PurePosixPath(entry.filename).is_relative_to(root)]
    total, done = max(1, sum(entry.file_size for entry in wanted)), 0
    for entry in wanted:
        place = target / PurePosixPath(entry.filename).relative_to(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(entry) as source, place.open("wb") as file:
            while part := source.read(_AT_ONCE):
                file.write(part)
                done += len(part)
                progress(done / total)


def _check_checkpoint(folder: Path) -> None:
    """Whether it looks like one, without loading it."""
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except ValueError:
        config = None
    if not isinstance(config, dict) or not set(SECTIONS) <= set(config):
        raise Sim4SegError(f"{CONFIG_FILE} in the zip file is not that of a Sim4Seg checkpoint")
    for weights in folder.rglob("*.safetensors"):
        if not _is_whole(weights):
            raise Sim4SegError(f"{weights.name} in the zip file is damaged; export the model again")


def _is_whole(path: Path) -> bool:
    """Whether a safetensors file is as long as its header says."""
    with path.open("rb") as file:
        start = file.read(8)
        if len(start) < 8:
            return False
        (length,) = struct.unpack("<Q", start)
        if length > _HEADER_LIMIT:
            return False
        try:
            header = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name[:2] != "__"]
        except (ValueError, TypeError, LookupError, AttributeError):
            return False
    return path.stat().st_size == 8 + int(length) + max(ends, default=0)
