"""Uploads in parts, in a private folder that is emptied whatever happens.

File names are the service's own random ones. The folder goes when the service ends; those of
services that were killed go when the next one starts.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from .images import ImageStore, Room
from .problems import refuse
from .protocol import UploadRequest, UploadStatus

PREFIX = "sim4seg-uploads-"
LOCK_FILE = "in-use"
YOUNG_SECONDS = 60.0
MAX_UPLOADS = 256
"""That are not complete; one owner's at most half of them."""
COMPLETE_SECONDS = 60.0
"""How long clients can ask about an upload that is complete."""
HESITANT_SECONDS = 30.0
"""An upload that stands still for so long is given up where another one needs its room."""


class PrivateFolder:
    """A temporary folder for this process alone."""

    def __init__(self, parent: Path | None = None) -> None:
        parent = parent or Path(tempfile.gettempdir())
        remove_abandoned(parent)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        self._lock = (self.path / LOCK_FILE).open("wb")
        _lock(self._lock)

    def remove(self) -> None:
        """Empty and remove it."""
        self._lock.close()
        shutil.rmtree(self.path, ignore_errors=True)


def remove_abandoned(parent: Path) -> None:
    """Remove private folders whose process has ended."""
    for folder in parent.glob(f"{PREFIX}*"):
        # Another service may be between creating its folder and locking it.
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime < YOUNG_SECONDS:
                continue
            with (folder / LOCK_FILE).open("ab") as file:
                _lock(file)
            shutil.rmtree(folder, ignore_errors=True)


def _lock(file: IO[bytes]) -> None:
    """Lock for as long as the file is open.

    Raises:
        OSError: if another process holds the lock.
    """
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@dataclass
class Upload:
    """One image on its way; `lock` serialises the parts."""

    id: str
    owner: str
    request: UploadRequest
    path: Path
    touched: float
    offset: int = 0
    complete: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def size(self) -> int:
        """Bytes of the whole image."""
        return self.request.description.nbytes

    @property
    def stands_still(self) -> float:
        """Seconds since the last part."""
        return time.monotonic() - self.touched

    def status(self) -> UploadStatus:
        """As the client sees it."""
        return UploadStatus(self.id, self.offset, self.size, self.complete)


def check_offset(upload: Upload, offset: int) -> None:
    """
    Raises:
        ServiceProblemError: if the upload stands elsewhere.
    """
    if offset != upload.offset:
        raise refuse("wrong_offset", f"The upload stands at {upload.offset}.")


class Uploads:
    """All uploads of a service; methods may be called from any thread."""

    def __init__(self, folder: PrivateFolder, images: ImageStore, room: Room, idle: float) -> None:
        """
        Args:
            room: shared with bodies that arrive in one piece.
            idle: seconds after which an upload that does not go on is given up.
        """
        self._folder = folder
        self._images = images
        self._room = room
        self._idle = idle
        self._uploads: dict[str, Upload] = {}
        room.release = self._give_up_hesitant

    def start(self, owner: str, request: UploadRequest) -> UploadStatus:
        """Announce an image; one that is known is complete at once."""
        identity = secrets.token_hex(16)
        path = self._folder.path / f"{identity}.part"
        upload = Upload(identity, owner, request, path, time.monotonic())
        if self._images.get(request.hash) is not None:
            return UploadStatus(identity, upload.size, upload.size, complete=True)
        self._check_count(owner)
        self._room.take(owner, upload.size)
        try:
            path.touch(mode=0o600)
        except OSError:
            self._room.give_back(owner, upload.size)
            raise refuse("storage", "There is no place to keep the upload.") from None
        self._uploads[identity] = upload
        return upload.status()

    def _check_count(self, owner: str) -> None:
        owners = [upload.owner for upload in self._uploads.values() if not upload.complete]
        if len(owners) >= MAX_UPLOADS or owners.count(owner) >= MAX_UPLOADS // 2:
            raise refuse("busy", "Too many images are being received at this moment.")

    def find(self, owner: str, identity: str) -> Upload:
        """
        Raises:
            ServiceProblemError: if the owner has no such upload.
        """
        upload = self._uploads.get(identity)
        if upload is None or upload.owner != owner:
            raise refuse("upload_unknown", "There is no such upload, or it was given up.")
        return upload

    def append(self, upload: Upload, offset: int, data: bytes) -> UploadStatus:
        """Add bytes at an offset, which must be where the upload stands.

        Raises:
            ServiceProblemError: if it stands elsewhere, there are too many bytes, or, with the last
                ones, if the hash is another one than announced.
        """
        with upload.lock:
            self.find(upload.owner, upload.id)
            check_offset(upload, offset)
            if offset + len(data) > upload.size:
                raise refuse("too_large", f"The image has {upload.size} bytes, not more.")
            if not data:
                # The end of a gzip stream may come by itself, when the file has gone.
                return upload.status()
            try:
                with upload.path.open("r+b") as file:
                    file.seek(offset)
                    file.write(data)
            except OSError:
                raise refuse("storage", "There is no place to keep the upload.") from None
            upload.offset += len(data)
            upload.touched = time.monotonic()
            if upload.offset == upload.size:
                self._complete(upload)
            return upload.status()

    def _complete(self, upload: Upload) -> None:
        try:
            data = upload.path.read_bytes()
            self._images.add(upload.request.description, data, upload.request.hash)
            upload.complete = True
        finally:
            upload.path.unlink(missing_ok=True)
            self._room.give_back(upload.owner, upload.size)
            if not upload.complete:
                self._uploads.pop(upload.id, None)

    def sweep(self) -> None:
        """Give up those that stand still, and forget those that are complete."""
        for upload in list(self._uploads.values()):
            allowed = min(self._idle, COMPLETE_SECONDS) if upload.complete else self._idle
            if upload.stands_still > allowed:
                self._forget(upload)

    def _give_up_hesitant(self) -> None:
        for upload in list(self._uploads.values()):
            if not upload.complete and upload.stands_still > HESITANT_SECONDS:
                self._forget(upload)

    def _forget(self, upload: Upload) -> None:
        """Unless a part is just being written, which this must not wait for."""
        if not upload.lock.acquire(blocking=False):
            return
        try:
            was_known = self._uploads.pop(upload.id, None) is not None
            if was_known and not upload.complete:
                upload.path.unlink(missing_ok=True)
                self._room.give_back(upload.owner, upload.size)
        finally:
            upload.lock.release()
