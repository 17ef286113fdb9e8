"""What goes over the wire: messages, arrays, versions. Shared by client and service.

Needs numpy only. Messages are plain dataclasses; the service has pydantic check them, with the
limits that stand beside the fields, and derives OpenAPI from the same place.

An image is its description (JSON) and its voxels: little-endian, C order, (k, j, i) or
(k, j, i, 3). Its name everywhere is the SHA-256 of both, so that nothing is sent twice and nothing
can be mixed up.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import json
import math
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from ..case import MAX_QUERY_CHARACTERS, Case, Geometry
from ..errors import Sim4SegError
from ..scaling_config import MAX_MASKS, MAX_SAMPLES
from ..volume.case import VolumeCase

PROTOCOL_VERSION = "1.1"
HASH_PATTERN = "^[0-9a-f]{64}$"
ID_PATTERN = "^[0-9a-f]{32}$"
NAME_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
BODY_PART_PATTERN = "^[a-z0-9][a-z0-9 _/-]{0,63}$"
NO_CONTROL_PATTERN = "^[^\\x00]*$"

CLIENT_HEADER = "Sim4Seg-Client"
DESCRIPTION_HEADER = "Sim4Seg-Image"
HASH_HEADER = "Sim4Seg-Hash"
OFFSET_HEADER = "Upload-Offset"

MAX_SIDE = 65_536
MAX_TIMEOUT_S = 3600.0
MAX_KEY_SLICES = 64
MAX_SEED = 2**53 - 1
"""Larger numbers do not survive JSON everywhere."""

DType = Literal[
    "bool",
    "uint8",
    "int8",
    "uint16",
    "int16",
    "uint32",
    "int32",
    "uint64",
    "int64",
    "float32",
    "float64",
]
JobState = Literal["queued", "running", "done", "failed", "cancelled"]
FINAL_STATES: tuple[JobState, ...] = ("done", "failed", "cancelled")
SimilarityForm = Literal["none", "uint8", "float32"]
Mode = Literal["slice", "slices", "volume"]
"""How much of an image one job is about: one slice, all one by one, or all at once."""
Axis = Literal["auto", "all", "axial", "coronal", "sagittal", "i", "j", "k"]
Encoding = Literal["raw", "zlib", "packbits+zlib"]

T = TypeVar("T")


class Limits:
    """Limits of a field in pydantic's words (`ge`, `le`, `max_length`, `pattern`, ...).

    pydantic finds it in the annotation by itself, so this module needs no pydantic.
    """

    def __init__(self, **keywords: float | str | bool) -> None:
        self._keywords = keywords

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> dict[str, Any]:
        return {**handler(source), **self._keywords}


Finite = Annotated[float, Limits(allow_inf_nan=False, ge=-1e9, le=1e9)]
Positive = Annotated[float, Limits(allow_inf_nan=False, gt=0, le=1e6)]
Hash = Annotated[str, Limits(pattern=HASH_PATTERN)]
Name = Annotated[str, Limits(pattern=NAME_PATTERN)]
_STRICT: dict[str, Any] = {"extra": "forbid", "strict": True}


@dataclass(frozen=True)
class WireGeometry:
    """See `case.Geometry`; mm, LPS, cosines row by row."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    spacing: Annotated[list[Positive], Limits(min_length=3, max_length=3)]
    origin: Annotated[list[Finite], Limits(min_length=3, max_length=3)]
    direction: Annotated[list[Finite], Limits(min_length=9, max_length=9)]

    @classmethod
    def of(cls, geometry: Geometry) -> WireGeometry:
        """From a Case's geometry."""
        rows = (geometry.spacing, geometry.origin, geometry.direction)
        return cls(*([float(number) for number in row] for row in rows))

    def whole(self) -> Geometry:
        """As a Case has it."""
        (i, j, k), (x, y, z) = self.spacing, self.origin
        return Geometry((i, j, k), (x, y, z), tuple(self.direction))

    def at_slice(self, index: int) -> Geometry:
        """The geometry of one slice: the origin moves along the third axis."""
        step = index * self.spacing[2]
        x, y, z = (self.origin[axis] + step * self.direction[3 * axis + 2] for axis in range(3))
        along_i, along_j, along_k = self.spacing
        return Geometry((along_i, along_j, along_k), (x, y, z), tuple(self.direction))


@dataclass(frozen=True)
class ImageDescription:
    """What is needed to read the voxels, and nothing that names a patient.

    Attributes:
        shape: (slices, rows, columns); a picture is one slice.
        channels: 1 for grey, 3 for RGB, which comes last.
        window: (centre, width), if the file proposes one.
        body_part: DICOM's body part in lower case; chooses the window of a CT volume.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    shape: Annotated[
        list[Annotated[int, Limits(ge=1, le=MAX_SIDE)]], Limits(min_length=3, max_length=3)
    ]
    dtype: DType
    channels: Literal[1, 3] = 1
    geometry: WireGeometry | None = None
    modality: Annotated[str, Limits(pattern="^[A-Z]{1,16}$")] | None = None
    window: Annotated[list[Finite], Limits(min_length=2, max_length=2)] | None = None
    body_part: Annotated[str, Limits(pattern=BODY_PART_PATTERN)] | None = None

    @property
    def array_shape(self) -> tuple[int, ...]:
        """(k, j, i) or (k, j, i, 3)."""
        return (*self.shape, 3) if self.channels == 3 else tuple(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the voxels."""
        return math.prod(self.array_shape) * np.dtype(self.dtype).itemsize

    def canonical(self) -> bytes:
        """The one spelling that is hashed; services of protocol 1.0 know no body part."""
        values = dataclasses.asdict(self)
        if self.body_part is None:
            del values["body_part"]
        return json.dumps(values, sort_keys=True, separators=(",", ":")).encode()


@dataclass(frozen=True)
class JobRequest:
    """One query about one image.

    Attributes:
        image: the image's hash.
        slice: of a volume, counted from 0; only with the mode `slice`.
        model: one of `Health.models`; None is the first.
        device: one of `Health.devices`; None is the one with the shortest queue.
        similarity: form in which the similarity map comes with the result, if there is one.
        partial_masks: whether events carry a first mask, where there is one.
        timeout_s: seconds from now, waiting included, after which the job fails.
        mode: one of `Health.modes`; None is `slice`.
        key: chosen by the client; the same key is the same job, so that asking again is safe.
        samples, masks, seed: see `ScalingConfig`; only with the mode `slice`; None is as the
            model says.
        candidates: whether the masks that were combined come with the result.
        axis, scouts, key_slices: see `volume.SliceOptions`; only with `slices` and `volume`.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    image: Hash
    query: Annotated[str, Limits(min_length=1, max_length=MAX_QUERY_CHARACTERS, pattern="\\S")]
    slice: Annotated[int, Limits(ge=0, le=MAX_SIDE)] | None = None
    model: Name | None = None
    device: Annotated[str, Limits(pattern="^(auto|cpu|mps|cuda(:[0-9]{1,3})?)$")] | None = None
    similarity: SimilarityForm = "none"
    partial_masks: bool = False
    timeout_s: Annotated[float, Limits(gt=0, le=MAX_TIMEOUT_S, allow_inf_nan=False)] | None = None
    mode: Mode | None = None
    key: Name | None = None
    samples: Annotated[int, Limits(ge=1, le=MAX_SAMPLES)] | None = None
    masks: Annotated[int, Limits(ge=1, le=MAX_MASKS)] | None = None
    seed: Annotated[int, Limits(ge=-MAX_SEED, le=MAX_SEED)] | None = None
    candidates: bool = False
    axis: Axis | None = None
    scouts: Annotated[int, Limits(ge=1, le=MAX_KEY_SLICES)] | None = None
    key_slices: Annotated[int, Limits(ge=1, le=MAX_KEY_SLICES)] | None = None


@dataclass(frozen=True)
class UploadRequest:
    """Announces an image that comes in parts."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    hash: Hash
    description: ImageDescription


@dataclass(frozen=True)
class UploadStatus:
    """How much of an upload has arrived; `complete` once the image can be asked about."""

    id: str
    offset: int
    size: int
    complete: bool


@dataclass(frozen=True)
class ImageStatus:
    """An image that the service holds."""

    hash: str
    size: int


@dataclass(frozen=True)
class WireArray:
    """An array in JSON: bytes as base64, little-endian, C order, compressed as `encoding` says."""

    dtype: str
    shape: list[int]
    encoding: Encoding
    data: str


@dataclass(frozen=True)
class Problem:
    """An error after RFC 9457, with a code for programs, one sentence, and what to do."""

    status: int
    code: str
    title: str
    detail: str
    action: str
    type: str = "about:blank"


@dataclass(frozen=True)
class JobStatus:
    """A job as its owner sees it.

    Attributes:
        revision: grows with every change.
        stage: `queued`, `load`, `encode`, `answer`, `mask` or the final state.
        fraction: 0..1.
        remaining_s: estimated seconds to the end, None if unknown.
        ahead: jobs that come before it, None unless queued.
        partial_mask: bool (1, rows, columns), a first mask, only in events that ask for it.
    """

    id: str
    state: JobState
    revision: int
    stage: str
    fraction: float
    remaining_s: float | None = None
    ahead: int | None = None
    problem: Problem | None = None
    partial_mask: WireArray | None = None


@dataclass(frozen=True)
class ResultMessage:
    """A finished job.

    Attributes:
        result: exactly result.json, see `output.result_to_dict` and, of the modes `slices` and
            `volume`, `volume.output.volume_result_to_dict`.
        masks: bool of each finding, in the order of `result["findings"]`: (1, rows, columns) of a
            slice, (slices, rows, columns) of a volume.
        similarity: float32 or uint8 (255 is 1) (1, rows, columns), if asked for; None of a volume.
        slice: where the arrays lie along the image's first axis.
        geometry: of the whole image.
        candidates: bool (1, rows, columns) each, in the order of `result["samples"]["masks"]`, if
            asked for; none where a single mask was drawn.
    """

    job: str
    protocol: str
    result: dict[str, Any]
    masks: list[WireArray]
    similarity: WireArray | None
    slice: int
    geometry: WireGeometry | None
    candidates: list[WireArray] | None = None


@dataclass(frozen=True)
class ModelStatus:
    """One model that can be named in a job."""

    name: str
    loaded_on: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class DeviceStatus:
    """One device and its queue.

    Attributes:
        state: `starting` until the first model is loaded, then `ready`; `busy` with a job;
            `stuck` if a job that was ended does not let go; `failed` without a usable model.
    """

    name: str
    state: Literal["starting", "ready", "busy", "stuck", "failed"]
    queued: int
    problem: str | None = None


@dataclass(frozen=True)
class Health:
    """What the service is and how busy it is.

    Attributes:
        modes: those that jobs may name; services without the field know `slice` only.
    """

    protocol: str
    version: str
    models: list[ModelStatus]
    devices: list[DeviceStatus]
    jobs: int
    images: int
    image_bytes: int
    modes: list[Mode] = field(default_factory=lambda: ["slice"])


def describe(case: Case) -> tuple[ImageDescription, NDArray[Any]]:
    """A Case as it is sent.

    Returns:
        The description and the voxels (1, H, W) or (1, H, W, 3), contiguous, little-endian.

    Raises:
        Sim4SegError: if the image's type cannot be sent.
    """
    return describe_array(case.image[np.newaxis], case.geometry, case.modality, case.window)


def describe_volume(volume: VolumeCase) -> tuple[ImageDescription, NDArray[Any]]:
    """A VolumeCase as it is sent; see `describe`. An odd body part is left out."""
    part = volume.body_part
    if part is not None and re.fullmatch(BODY_PART_PATTERN, part) is None:
        part = None
    return describe_array(volume.voxels, volume.geometry, volume.modality, volume.window, part)


def describe_array(
    voxels: NDArray[Any],
    geometry: Geometry | None = None,
    modality: str | None = None,
    window: tuple[float, float] | None = None,
    body_part: str | None = None,
) -> tuple[ImageDescription, NDArray[Any]]:
    """A volume (k, j, i) or (k, j, i, 3) as it is sent; see `describe`."""
    if voxels.dtype.name not in get_args(DType):
        raise Sim4SegError(f"images of type {voxels.dtype} cannot be sent; convert to float32")
    if voxels.ndim not in (3, 4) or (voxels.ndim == 4 and voxels.shape[3] != 3):
        raise Sim4SegError(f"expected (k, j, i) or (k, j, i, 3) voxels, got {voxels.shape}")
    description = ImageDescription(
        shape=[int(side) for side in voxels.shape[:3]],
        dtype=voxels.dtype.name,  # type: ignore[arg-type]
        channels=3 if voxels.ndim == 4 else 1,
        geometry=None if geometry is None else WireGeometry.of(geometry),
        modality=modality,
        window=None if window is None else [float(number) for number in window],
        body_part=body_part,
    )
    return description, np.ascontiguousarray(voxels, voxels.dtype.newbyteorder("<"))


def content_hash(description: ImageDescription, voxels: memoryview | bytes | bytearray) -> str:
    """SHA-256 over the description, a line feed and the voxels."""
    digest = hashlib.sha256(description.canonical() + b"\n")
    digest.update(voxels)
    return digest.hexdigest()


def encode_array(array: NDArray[Any]) -> WireArray:
    """Masks as compressed bits, bytes compressed, floats as they are: they hardly shrink."""
    shape = list(array.shape)
    if array.dtype == np.bool_:
        packed = zlib.compress(np.packbits(array).tobytes(), 1)
        return WireArray("bool", shape, "packbits+zlib", _base64(packed))
    if array.dtype == np.uint8:
        return WireArray("uint8", shape, "zlib", _base64(zlib.compress(array.tobytes(), 1)))
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return WireArray(array.dtype.name, shape, "raw", _base64(little.tobytes()))


def decode_array(wire: WireArray) -> NDArray[Any]:
    """The array again.

    Raises:
        Sim4SegError: if it does not hold what it says.
    """
    if wire.dtype not in get_args(DType) or min(wire.shape, default=0) < 0:
        raise _garbled()
    count = math.prod(wire.shape)
    dtype = np.dtype(wire.dtype).newbyteorder("<")
    bits = wire.encoding == "packbits+zlib"
    expected = (count + 7) // 8 if bits else count * dtype.itemsize
    try:
        data = base64.b64decode(wire.data, validate=True)
        if wire.encoding != "raw":
            inflater = zlib.decompressobj()
            data = inflater.decompress(data, expected + 1)
    except (zlib.error, binascii.Error):
        raise _garbled() from None
    if len(data) != expected:
        raise _garbled()
    if bits:
        flags = np.unpackbits(np.frombuffer(data, np.uint8), count=count)
        return flags.astype(bool).reshape(wire.shape)
    return np.frombuffer(data, dtype).reshape(wire.shape)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _garbled() -> Sim4SegError:
    return Sim4SegError("the service sent an array that cannot be read; are the versions the same?")


def pick(kind: type[T], values: Mapping[str, Any]) -> T:
    """A flat message from JSON; fields of newer minor versions are ignored.

    Raises:
        Sim4SegError: if fields are missing.
    """
    names = {entry.name for entry in dataclasses.fields(kind)}  # type: ignore[arg-type]
    try:
        return kind(**{name: value for name, value in values.items() if name in names})
    except TypeError:
        raise Sim4SegError(
            "the service's reply cannot be read; are the versions of client and service the same?"
        ) from None
