"""Images that the service holds, by content; and images on their way, which cost memory too."""

from __future__ import annotations

import contextlib
import functools
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..case import Case
from ..volume.case import VolumeCase
from .caching import ByteCache
from .problems import refuse
from .protocol import ImageDescription, ImageStatus, content_hash


@dataclass(frozen=True)
class StoredImage:
    """Voxels (k, j, i) or (k, j, i, 3) with what describes them; never changed."""

    hash: str
    description: ImageDescription
    voxels: NDArray[Any]

    def case(self, index: int | None) -> Case:
        """One slice as a Case.

        Raises:
            ServiceProblemError: if there is no such slice, or none was named for a volume.
            Sim4SegError: if the slice is no image the model can look at.
        """
        description = self.description
        slices = description.shape[0]
        if index is None and slices > 1:
            raise refuse(
                "unsupported", f"The image has {slices} slices; the model looks at one at a time."
            )
        index = index or 0
        if index >= slices:
            raise refuse("invalid", f"slice: there is no slice {index}, the image has {slices}.")
        window = description.window
        geometry = description.geometry
        # A view would keep the whole volume in memory for as long as the slice is.
        pixels = self.voxels[index].copy() if slices > 1 else self.voxels[0]
        return Case(
            pixels,
            geometry=None if geometry is None else geometry.at_slice(index),
            modality=description.modality,
            window=None if window is None else (window[0], window[1]),
        )

    def volume(self) -> VolumeCase:
        """All of it as a VolumeCase; checked once, since that reads every voxel.

        Raises:
            ServiceProblemError: if it came without a geometry.
            Sim4SegError: if it is no volume that can be looked at.
        """
        return self._volume

    @functools.cached_property
    def _volume(self) -> VolumeCase:
        description = self.description
        if description.geometry is None:
            raise refuse(
                "unsupported",
                "The image came without a geometry; send a volume with spacing, origin and "
                "direction.",
            )
        window = description.window
        return VolumeCase(
            self.voxels,
            description.geometry.whole(),
            modality=description.modality,
            body_part=description.body_part,
            window=None if window is None else (window[0], window[1]),
        )


class ImageStore:
    """Keeps images by hash, the most recently used ones, within a budget of bytes."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._cache: ByteCache[str, StoredImage] = ByteCache(budget)

    def get(self, digest: str) -> StoredImage | None:
        """The image, if it is still here."""
        return self._cache.get(digest)

    def add(
        self, description: ImageDescription, data: bytearray | bytes, expected: str | None
    ) -> ImageStatus:
        """Keep an image.

        Args:
            data: exactly `description.nbytes` bytes.
            expected: the hash that the client computed.

        Raises:
            ServiceProblemError: if the hash is another one, or the voxels are no numbers.
        """
        digest = content_hash(description, data)
        if expected is not None and expected != digest:
            raise refuse("hash_mismatch", "The image does not have the hash that was announced.")
        dtype = np.dtype(description.dtype).newbyteorder("<")
        if description.dtype == "bool" and np.frombuffer(data, np.uint8).max(initial=0) > 1:
            raise refuse("invalid", "dtype: truth values must be 0 or 1.")
        voxels = np.frombuffer(data, dtype).reshape(description.array_shape)
        voxels.flags.writeable = False
        image = StoredImage(digest, description, voxels)
        self._cache.put(digest, image, voxels.nbytes)
        return ImageStatus(digest, voxels.nbytes)

    def __len__(self) -> int:
        return len(self._cache)

    @property
    def size(self) -> int:
        """Bytes in use."""
        return self._cache.size


class Room:
    """Bytes that may be on their way at one time; one owner's at most half of them.

    One image of an owner may be larger than that, if nothing else of this owner is on its way.

    Attributes:
        release: called where room is missing; may give some back.
    """

    def __init__(self, budget: int) -> None:
        self.release: Callable[[], object] = lambda: None
        self._budget = budget
        self._taken: dict[str, int] = {}
        self._lock = threading.Lock()

    @property
    def free(self) -> int:
        """Bytes that nobody has taken."""
        return self._budget - sum(self._taken.values())

    def take(self, owner: str, size: int) -> None:
        """
        Raises:
            ServiceProblemError: if there is not so much room now.
        """
        if self._takes(owner, size):
            return
        self.release()
        if not self._takes(owner, size):
            raise refuse("busy", "Too many images are being received at this moment.")

    def _takes(self, owner: str, size: int) -> bool:
        with self._lock:
            taken = self._taken.get(owner, 0)
            if size > self.free or (taken > 0 and taken + size > self._budget // 2):
                return False
            self._taken[owner] = taken + size
            return True

    def give_back(self, owner: str, size: int) -> None:
        """End what `take` began."""
        with self._lock:
            self._taken[owner] -= size
            if self._taken[owner] == 0:
                del self._taken[owner]

    @contextlib.contextmanager
    def reserved(self, owner: str, size: int) -> Iterator[None]:
        """`take` for the time of a block."""
        self.take(owner, size)
        try:
            yield
        finally:
            self.give_back(owner, size)


class Decoder:
    """Undoes a Content-Encoding, and never makes more than there is room for."""

    def __init__(self, encoding: str) -> None:
        """
        Raises:
            ServiceProblemError: if the encoding is not known.
        """
        if encoding not in ("identity", "gzip"):
            raise refuse("unsupported_encoding", "The body's Content-Encoding is not supported.")
        self._inflater = zlib.decompressobj(16 + zlib.MAX_WBITS) if encoding == "gzip" else None

    @property
    def computes(self) -> bool:
        """Whether `decode` takes so long that it belongs on another thread."""
        return self._inflater is not None

    def decode(self, chunk: bytes, room: int) -> bytes:
        """The next bytes.

        Raises:
            ServiceProblemError: if they are more than `room`, or no gzip stream.
        """
        if self._inflater is not None:
            try:
                chunk = self._inflater.decompress(chunk, room + 1)
            except zlib.error:
                raise refuse("malformed", "The body is not valid gzip.") from None
            if self._inflater.unused_data:
                raise refuse("malformed", "Something follows the end of the gzip stream.")
        if len(chunk) > room:
            raise refuse("malformed", "The body holds more bytes than the image has.")
        return chunk

    def finish(self) -> None:
        """
        Raises:
            ServiceProblemError: if the stream stopped before its end.
        """
        if self._inflater is not None and not self._inflater.eof:
            raise refuse("truncated", "The gzip stream stopped before its end.")


class Receiver:
    """Puts a body together, and never holds more than was announced.

    A decompression bomb ends where it exceeds the announced size, which is within the limits.
    """

    def __init__(self, size: int, encoding: str) -> None:
        """
        Raises:
            ServiceProblemError: if the encoding is not known.
        """
        self.decoder = Decoder(encoding)
        self._data = bytearray(size)
        self._received = 0

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body; see `Decoder.decode`."""
        data = self.decoder.decode(chunk, len(self._data) - self._received)
        self._data[self._received : self._received + len(data)] = data
        self._received += len(data)

    def finish(self) -> bytearray:
        """The whole body.

        Raises:
            ServiceProblemError: if bytes are missing.
        """
        if self._received != len(self._data):
            raise refuse("truncated", f"The body has {self._received} of {len(self._data)} bytes.")
        self.decoder.finish()
        return self._data
