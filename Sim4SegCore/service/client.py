"""Talks to a service, local or remote. Needs requests and numpy, nothing else.

client = Client("http://127.0.0.1:8000", token)
answer = client.ask(case, "Is there a skin lesion? Segment it.", progress=print)
answer.document["diagnosis"], answer.masks
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import requests
from numpy.typing import NDArray

from ..case import Case, Geometry
from ..volume.case import VolumeCase
from .answers import RemoteAnswer, remote_answer
from .protocol import (
    DESCRIPTION_HEADER,
    FINAL_STATES,
    HASH_HEADER,
    OFFSET_HEADER,
    PROTOCOL_VERSION,
    Axis,
    Health,
    ImageDescription,
    JobStatus,
    Mode,
    Problem,
    SimilarityForm,
    UploadStatus,
    WireArray,
    content_hash,
    decode_array,
    describe,
    describe_array,
    describe_volume,
    pick,
)
from .transport import RETRIES, Endpoint, ServiceError, Transport, foreign, own_problem

Compression = Literal["auto", "none", "gzip"]

PART_BYTES = 16 << 20
LOCAL_PART_BYTES = 128 << 20
"""Each part waits for Python's lock several times, which Slicer's main thread rarely lets go of;
there is nothing to lose on the way to the same machine."""
WAIT_S = 20.0
EVENTS_READ_S = 15.0
GZIP_LEVEL = 1
_ASKED_AGAIN = ("image_missing", "job_unknown", "stopping")


@dataclass(frozen=True)
class Options:
    """How to ask; see `protocol.JobRequest`."""

    slice: int | None = None
    model: str | None = None
    device: str | None = None
    similarity: SimilarityForm = "none"
    timeout_s: float | None = None
    mode: Mode | None = None
    samples: int | None = None
    masks: int | None = None
    seed: int | None = None
    candidates: bool = False
    axis: Axis | None = None
    scouts: int | None = None
    key_slices: int | None = None

    def asked(self) -> dict[str, Any]:
        """What differs from the defaults: older services refuse fields that they do not know."""
        return {
            entry.name: getattr(self, entry.name)
            for entry in dataclasses.fields(self)
            if getattr(self, entry.name) != entry.default
        }


@dataclass(frozen=True)
class PreparedImage:
    """An image that was hashed once, so that later queries need not.

    Holds the voxels, to send them again should the service have dropped them.
    """

    hash: str
    description: ImageDescription
    voxels: NDArray[Any] = field(repr=False)

    def part(self, start: int, end: int) -> memoryview:
        """Bytes of the voxels as they are sent; not a copy, which would stop all threads."""
        return self.voxels.reshape(-1).view(np.uint8)[start:end].data


@dataclass(frozen=True)
class ClientProgress:
    """One sign of life; at least two come each second.

    Attributes:
        stage: `upload`, or a stage of `JobStatus`.
        fraction: of the upload, then of the query, 0..1.
        remaining_s: estimated seconds to the end, None if unknown.
        ahead: queries of others that come first, None unless queued.
        mask: a first mask, bool (1, H, W), where there is one.
    """

    stage: str
    fraction: float
    remaining_s: float | None = None
    ahead: int | None = None
    mask: NDArray[np.bool_] | None = None


Progress = Callable[[ClientProgress], object]
"""Called on the thread that asks. What it raises cancels the query and is raised there."""


class Client:
    """A connection to a service; for one thread at a time."""

    def __init__(
        self,
        url: str = "",
        token: str = "",
        *,
        endpoint: Callable[[], Endpoint] | None = None,
        name: str | None = None,
        ca_bundle: str | None = None,
        proxies: Mapping[str, str] | None = None,
        compression: Compression = "auto",
    ) -> None:
        """
        Args:
            endpoint: asked for URL and token instead, again whenever the service is not reached,
                so that one that was restarted elsewhere is found.
            name: tells clients with one token apart when turns are given; None is random.
            ca_bundle: PEM file; None takes the environment's, then requests' own.
            proxies: scheme -> URL; None takes the environment's.
            compression: of images on their way; `auto` compresses unless the service is on this
                machine, where compressing takes longer than sending.
        """
        self._transport = Transport(endpoint or (lambda: (url, token)), name, ca_bundle, proxies)
        self._compression = compression

    def close(self) -> None:
        """Close connections."""
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def health(self) -> Health:
        """Versions, models, devices and load.

        Raises:
            ServiceError: if the service cannot be reached or speaks another protocol.
        """
        health = pick(Health, self._transport.values("GET", "/v1/health"))
        if health.protocol.split(".")[0] != PROTOCOL_VERSION.split(".")[0]:
            raise own_problem(
                "version",
                f"The service speaks protocol {health.protocol}, this client {PROTOCOL_VERSION}",
                "Use the same version of Sim4Seg on both sides.",
            )
        return health

    def prepare(self, case: Case | VolumeCase) -> PreparedImage:
        """Hash an image; nothing is sent yet."""
        if isinstance(case, VolumeCase):
            return _prepared(*describe_volume(case))
        return _prepared(*describe(case))

    def prepare_volume(
        self,
        voxels: NDArray[Any],
        geometry: Geometry | None = None,
        modality: str | None = None,
        window: tuple[float, float] | None = None,
    ) -> PreparedImage:
        """Hash a volume (k, j, i) or (k, j, i, 3) that is no VolumeCase.

        Ask about it with `Options.slice` or, if it has a geometry, with `Options.mode`.
        """
        return _prepared(*describe_array(voxels, geometry, modality, window))

    def send(self, image: PreparedImage, progress: Progress | None = None) -> None:
        """Send an image, unless it is there already.

        A large one goes in parts, and goes on where it was interrupted.

        Raises:
            ServiceError: if it is refused, or the service cannot be reached.
        """
        if self.knows(image.hash):
            return
        if image.voxels.nbytes <= self._part_bytes:
            self._send_at_once(image)
        else:
            self._send_in_parts(image, progress or _ignore)

    def knows(self, digest: str) -> bool:
        """Whether the service holds an image."""
        try:
            self._transport.values("GET", f"/v1/images/{digest}")
        except ServiceError as error:
            if error.problem.code == "image_unknown":
                return False
            raise
        return True

    def ask(
        self,
        image: Case | VolumeCase | PreparedImage,
        query: str,
        options: Options | None = None,
        progress: Progress | None = None,
    ) -> RemoteAnswer:
        """Ask a query and wait for the answer.

        Should the service be restarted or drop the image meanwhile, the image is sent again and
        the query asked again. Once it has accepted the query, it may be away for a minute.

        Args:
            image: one that will be asked about again is best prepared.
            options: with the modes `slices` and `volume`, the answer is about the volume as a
                whole.

        Raises:
            ServiceError: if it cannot be answered.
        """
        prepared = image if isinstance(image, PreparedImage) else self.prepare(image)
        body = {
            **(options or Options()).asked(),
            "image": prepared.hash,
            "query": query,
            "partial_masks": progress is not None,
            "key": secrets.token_hex(16),
        }
        heard = None if progress is None else _Listener(progress)
        try:
            return self._ask_once(body, heard)
        except ServiceError as error:
            failure = error
        with self._transport.awaiting(_again(heard)):
            for _ in range(RETRIES):
                self._repair(failure, prepared, body, heard)
                try:
                    return self._ask_once(body, heard)
                except ServiceError as error:
                    failure = error
        raise failure

    def _repair(
        self,
        failure: ServiceError,
        image: PreparedImage,
        body: dict[str, Any],
        heard: _Listener | None,
    ) -> None:
        """What has to be done before the query is asked again.

        Raises:
            ServiceError: the failure, if it will not help.
        """
        code = failure.problem.code
        if code not in _ASKED_AGAIN:
            raise failure
        if code == "image_missing":
            self.send(image, heard)
        elif code == "stopping":
            # The failed job keeps its key as long as the old process lives.
            body["key"] = secrets.token_hex(16)
            time.sleep(1.0)

    def cancel(self, job: str) -> None:
        """Cancel a job, or forget a finished one; nothing happens if it is not there."""
        with contextlib.suppress(ServiceError):
            self._transport.request("DELETE", f"/v1/jobs/{job}", read_s=5.0, retries=1)

    def _ask_once(self, body: dict[str, Any], heard: _Listener | None) -> RemoteAnswer:
        status = _status(self._transport.values("POST", "/v1/jobs", json=body))
        try:
            with self._transport.awaiting(_again(heard)):
                while status.state not in FINAL_STATES:
                    status = self._news(status, heard)
                if status.problem is not None:
                    raise ServiceError(status.problem)
                return remote_answer(self._transport.values("GET", f"/v1/jobs/{status.id}/result"))
        except BaseException as error:
            if not isinstance(error, ServiceError):
                self.cancel(status.id)
            raise

    def _news(self, status: JobStatus, progress: Progress | None) -> JobStatus:
        if progress is not None:
            return self._follow(status, progress)
        path = f"/v1/jobs/{status.id}?wait={WAIT_S:.0f}"
        return _status(self._transport.values("GET", path))

    def _follow(self, status: JobStatus, progress: Progress) -> JobStatus:
        """Listen until the end, or until the connection breaks: the caller then asks again."""
        last = {"Last-Event-ID": str(status.revision - 1)}
        response = self._transport.request(
            "GET",
            f"/v1/jobs/{status.id}/events",
            headers=last,
            stream=True,
            read_s=EVENTS_READ_S,
        )
        with response:
            if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
                raise foreign(response)
            for values in _events(response):
                status = _status(values)
                if status.state in FINAL_STATES:
                    break
                progress(_progress(status))
        return status

    def _send_at_once(self, image: PreparedImage) -> None:
        data, headers = self._packed(image.part(0, image.voxels.nbytes))
        headers[DESCRIPTION_HEADER] = image.description.canonical().decode()
        headers[HASH_HEADER] = image.hash
        self._transport.values("POST", "/v1/images", data=data, headers=headers)

    def _send_in_parts(self, image: PreparedImage, progress: Progress) -> None:
        status = self._start_upload(image)
        failures = 0
        while not status.complete:
            progress(ClientProgress("upload", status.offset / status.size))
            end = status.offset + self._part_bytes
            data, headers = self._packed(image.part(status.offset, end))
            headers[OFFSET_HEADER] = str(status.offset)
            path = f"/v1/uploads/{status.id}"
            try:
                reply = self._transport.values("PATCH", path, data=data, headers=headers, retries=0)
                status, failures = pick(UploadStatus, reply), 0
            except ServiceError as error:
                failures += 1
                if failures > RETRIES or not _may_go_on(error.problem):
                    raise
                time.sleep(0.2 * failures)
                status = self._resumed(image, status)

    def _start_upload(self, image: PreparedImage) -> UploadStatus:
        body = {"hash": image.hash, "description": dataclasses.asdict(image.description)}
        return pick(UploadStatus, self._transport.values("POST", "/v1/uploads", json=body))

    def _resumed(self, image: PreparedImage, status: UploadStatus) -> UploadStatus:
        """Where the upload stands; from the start if the service has forgotten it."""
        try:
            reply = self._transport.values("GET", f"/v1/uploads/{status.id}")
            return pick(UploadStatus, reply)
        except ServiceError as error:
            if error.problem.code != "upload_unknown":
                raise
            return self._start_upload(image)

    @property
    def _part_bytes(self) -> int:
        return LOCAL_PART_BYTES if self._transport.is_local else PART_BYTES

    def _packed(self, data: memoryview) -> tuple[bytes | memoryview, dict[str, str]]:
        headers = {"Content-Type": "application/octet-stream"}
        compresses = self._compression == "gzip" or (
            self._compression == "auto" and not self._transport.is_local
        )
        if compresses:
            headers["Content-Encoding"] = "gzip"
            return gzip.compress(data, GZIP_LEVEL), headers
        return data, headers


class _Listener:
    """Passes progress on, and the latest again where there is no other news."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._latest = ClientProgress("queued", 0.0)

    def __call__(self, step: ClientProgress) -> None:
        self._latest = dataclasses.replace(step, mask=None)
        self._progress(step)

    def again(self) -> None:
        self._progress(self._latest)


def _again(heard: _Listener | None) -> Callable[[], object]:
    return (lambda: None) if heard is None else heard.again


def _may_go_on(problem: Problem) -> bool:
    codes = ("unreachable", "wrong_offset", "truncated", "upload_unknown", "stopping")
    return problem.code in codes or problem.status in (429, 503)


def _prepared(description: ImageDescription, voxels: NDArray[Any]) -> PreparedImage:
    digest = content_hash(description, voxels.reshape(-1).view(np.uint8).data)
    return PreparedImage(digest, description, voxels)


def _status(values: Mapping[str, Any]) -> JobStatus:
    status = pick(JobStatus, values)
    problem, mask = values.get("problem"), values.get("partial_mask")
    return dataclasses.replace(
        status,
        problem=None if problem is None else pick(Problem, problem),
        partial_mask=None if mask is None else pick(WireArray, mask),
    )


def _progress(status: JobStatus) -> ClientProgress:
    mask = status.partial_mask
    return ClientProgress(
        status.stage,
        status.fraction,
        status.remaining_s,
        status.ahead,
        None if mask is None else decode_array(mask),
    )


def _events(response: requests.Response) -> Iterator[dict[str, Any]]:
    """Data of server-sent events; ends quietly where the connection does."""
    with contextlib.suppress(requests.RequestException):
        for line in response.iter_lines(chunk_size=None):
            if line.startswith(b"data: "):
                with contextlib.suppress(ValueError):
                    yield json.loads(line[len(b"data: ") :])


def _ignore(progress: ClientProgress) -> None:
    """Nobody listens."""
