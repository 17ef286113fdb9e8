"""The HTTP interface, version 1. Thin: checks and wording here, everything else in the Hub."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, TypeVar

import anyio
from fastapi import FastAPI, Header, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from pydantic import TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from .. import __version__
from ..errors import Sim4SegError
from .gate import Gate
from .hub import Hub
from .images import Decoder, Receiver
from .jobs import Job
from .problems import ServiceProblemError, problem, refuse
from .protocol import (
    DESCRIPTION_HEADER,
    FINAL_STATES,
    HASH_HEADER,
    HASH_PATTERN,
    ID_PATTERN,
    OFFSET_HEADER,
    Health,
    ImageDescription,
    ImageStatus,
    JobRequest,
    JobStatus,
    Problem,
    ResultMessage,
    UploadRequest,
    UploadStatus,
)
from .results import shallow
from .scheduling import Lane
from .security import Principal, Role, TokenBook
from .uploads import Upload, Uploads, check_offset

MAX_WAIT_S = 30.0
HEARTBEAT_S = 0.5
INFLATE_BATCH = 1 << 20

T = TypeVar("T")
HashPath = Annotated[str, Path(pattern=HASH_PATTERN)]
IdPath = Annotated[str, Path(pattern=ID_PATTERN)]
Encoding = Annotated[str, Header(alias="Content-Encoding", description="identity or gzip")]


def create_app(hub: Hub, tokens: TokenBook) -> FastAPI:
    """The application; the caller starts and stops the hub."""
    app = FastAPI(
        title="Sim4Seg",
        version=__version__,
        description="Ask medical images clinical questions. Research only; not a medical device.",
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=_problems(400, 401, 403, 405, 413, 422, 429, 431, 500, 503),
    )
    _add_health(app, hub)
    _add_images(app, hub)
    _add_uploads(app, hub)
    _add_jobs(app, hub)
    _add_problem_handlers(app)
    _describe_security(app)
    app.add_middleware(Gate, tokens=tokens, limits=hub.config.limits)
    return app


# --------------------------------------------------------------------------- routes


def _add_health(app: FastAPI, hub: Hub) -> None:
    @app.get("/v1/health", summary="Versions, models, devices and load")
    def health(request: Request) -> Health:
        _require(request, "monitor")
        return hub.health()


def _add_images(app: FastAPI, hub: Hub) -> None:
    voxels = {"schema": {"type": "string", "format": "binary"}}

    @app.post(
        "/v1/images",
        summary="Send an image in one piece",
        responses=_problems(415),
        openapi_extra={
            "requestBody": {"required": True, "content": {"application/octet-stream": voxels}}
        },
    )
    async def add_image(
        request: Request,
        description: Annotated[
            str,
            Header(alias=DESCRIPTION_HEADER, description="ImageDescription as JSON"),
        ],
        digest: Annotated[str | None, Header(alias=HASH_HEADER, pattern=HASH_PATTERN)] = None,
        encoding: Encoding = "identity",
    ) -> ImageStatus:
        principal = _require(request, "user")
        described = _parse(ImageDescription, description.encode("latin-1"))
        _check_size(hub, described)
        with hub.room.reserved(principal.name, described.nbytes):
            receiver = Receiver(described.nbytes, encoding)
            await _receive(request, receiver, hub.config.limits.body_idle_seconds)
            data = receiver.finish()
            return await run_in_threadpool(hub.images.add, described, data, digest)

    @app.get("/v1/images/{digest}", summary="Is this image here?", responses=_problems(404))
    def image(request: Request, digest: HashPath) -> ImageStatus:
        _require(request, "user")
        return hub.image_status(digest)


def _add_uploads(app: FastAPI, hub: Hub) -> None:
    @app.post(
        "/v1/uploads",
        summary="Announce an image that comes in parts",
        status_code=201,
        responses=_problems(507),
        openapi_extra=_body_of(UploadRequest),
    )
    async def start(request: Request) -> UploadStatus:
        principal = _require(request, "user")
        announced = await _json_body(request, UploadRequest, hub.config.limits.max_body_bytes)
        _check_size(hub, announced.description)
        return hub.uploads.start(principal.name, announced)

    @app.get("/v1/uploads/{identity}", summary="How much is here?", responses=_problems(404))
    def status(request: Request, identity: IdPath) -> UploadStatus:
        principal = _require(request, "user")
        return hub.uploads.find(principal.name, identity).status()

    @app.patch(
        "/v1/uploads/{identity}",
        summary="Send the next part",
        responses=_problems(404, 409, 415, 507),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
                },
            }
        },
    )
    async def append(
        request: Request,
        identity: IdPath,
        offset: Annotated[int, Header(alias=OFFSET_HEADER, ge=0, le=1 << 50)],
        encoding: Encoding = "identity",
    ) -> UploadStatus:
        principal = _require(request, "user")
        upload = hub.uploads.find(principal.name, identity)
        check_offset(upload, offset)
        decoder = Decoder(encoding)
        idle = hub.config.limits.body_idle_seconds
        async for part in _parts(request, idle):
            offset = await run_in_threadpool(_append, hub.uploads, upload, offset, decoder, part)
        decoder.finish()
        return upload.status()


def _add_jobs(app: FastAPI, hub: Hub) -> None:
    @app.post(
        "/v1/jobs",
        summary="Ask a query about an image",
        status_code=201,
        responses=_problems(409),
        openapi_extra=_body_of(JobRequest),
    )
    async def submit(request: Request) -> JobStatus:
        principal = _require(request, "user")
        asked = await _json_body(request, JobRequest, hub.config.limits.max_body_bytes)
        lane: Lane = (principal.name, request.state.client)
        job = await run_in_threadpool(hub.submit, lane, asked)
        return hub.status(job)

    @app.get("/v1/jobs/{identity}", summary="How is a job?", responses=_problems(404))
    async def job_status(
        request: Request,
        identity: IdPath,
        wait: Annotated[
            float, Query(ge=0, le=MAX_WAIT_S, description="seconds to wait for the end")
        ] = 0.0,
    ) -> JobStatus:
        job = _own_job(hub, request, identity)
        if wait > 0 and not job.is_final:
            await _until_final(hub, job, wait)
        return hub.status(job)

    @app.delete(
        "/v1/jobs/{identity}",
        summary="Cancel a job, or forget a finished one",
        responses=_problems(404),
    )
    def cancel(request: Request, identity: IdPath) -> JobStatus:
        job = _own_job(hub, request, identity)
        hub.cancel(job)
        return hub.status(job)

    @app.get(
        "/v1/jobs/{identity}/result",
        summary="result.json and masks",
        response_model=ResultMessage,
        responses=_problems(404, 409, 504),
    )
    def result(request: Request, identity: IdPath) -> Response:
        job = _own_job(hub, request, identity)
        if job.result is not None:
            return Response(job.result, media_type="application/json")
        if job.problem is not None:
            raise ServiceProblemError(job.problem)
        raise refuse("not_finished", "The job has not ended yet.")

    _add_events(app, hub)


def _add_events(app: FastAPI, hub: Hub) -> None:
    @app.get(
        "/v1/jobs/{identity}/events",
        summary="A job's changes as server-sent events, each a JobStatus",
        response_class=StreamingResponse,
        responses={
            **_problems(404),
            200: {
                "description": "A stream that ends with the job",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            },
        },
    )
    async def events(
        request: Request,
        identity: IdPath,
        last: Annotated[int, Header(alias="Last-Event-ID", ge=-1, le=1 << 50)] = -1,
    ) -> StreamingResponse:
        job = _own_job(hub, request, identity)
        _check_streams(hub, job)
        return StreamingResponse(_events(hub, job, last), media_type="text/event-stream")


async def _events(hub: Hub, job: Job, last: int) -> AsyncIterator[bytes]:
    """Only the newest state is sent, so a slow reader is never behind."""
    with hub.waiters.counted(job.lane[0]):
        while not hub.is_stopping:
            # Without a change the estimate is new all the same, and the client can tell that the
            # service lives, and cancel.
            is_new = await hub.waiters.beyond(job, last, HEARTBEAT_S)
            status = hub.status(job, with_mask=is_new)
            last = status.revision
            yield f"id: {last}\ndata: {json.dumps(shallow(status))}\n\n".encode()
            if status.state in FINAL_STATES:
                return


async def _until_final(hub: Hub, job: Job, seconds: float) -> None:
    _check_streams(hub, job)
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    with hub.waiters.counted(job.lane[0]):
        while not job.is_final and not hub.is_stopping and loop.time() < until:
            await hub.waiters.beyond(job, job.revision, until - loop.time())


def _check_streams(hub: Hub, job: Job) -> None:
    if hub.waiters.are_too_many(job.lane[0], hub.config.limits.max_streams):
        raise refuse("rate_limited", "Too many clients are waiting for jobs.")


# --------------------------------------------------------------------------- requests


def _require(request: Request, role: Role) -> Principal:
    principal: Principal = request.state.principal
    if not principal.may(role):
        raise refuse("forbidden", f"The token's role is {principal.role}; this needs {role}.")
    return principal


def _own_job(hub: Hub, request: Request, identity: str) -> Job:
    principal = _require(request, "user")
    return hub.board.find(None if principal.may("admin") else principal.name, identity)


def _check_size(hub: Hub, description: ImageDescription) -> None:
    limit = hub.config.limits.max_image_bytes
    if description.nbytes > limit:
        raise refuse("too_large", f"The image has {description.nbytes} bytes; {limit} are allowed.")


def _append(uploads: Uploads, upload: Upload, offset: int, decoder: Decoder, part: bytes) -> int:
    """Where the upload stands after another part."""
    data = decoder.decode(part, max(0, upload.size - offset))
    uploads.append(upload, offset, data)
    return offset + len(data)


async def _chunks(request: Request, idle: float) -> AsyncIterator[bytes]:
    """The body as it comes; a client that stops sending is given up."""
    stream = request.stream()
    while True:
        try:
            # Cheaper than asyncio.wait_for, which on old Pythons makes a task for each chunk.
            with anyio.fail_after(idle):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except (TimeoutError, ClientDisconnect):
            raise refuse("truncated", "The body stopped before its end.") from None
        yield chunk


async def _parts(request: Request, idle: float) -> AsyncIterator[bytes]:
    """The body in parts of about a megabyte; what has arrived counts, whatever comes then."""
    waiting = bytearray()
    try:
        async for chunk in _chunks(request, idle):
            waiting += chunk
            if len(waiting) >= INFLATE_BATCH:
                yield bytes(waiting)
                waiting.clear()
    except ServiceProblemError:
        if waiting:
            yield bytes(waiting)
        raise
    if waiting:
        yield bytes(waiting)


async def _receive(request: Request, receiver: Receiver, idle: float) -> None:
    if receiver.decoder.computes:
        async for part in _parts(request, idle):
            await run_in_threadpool(receiver.feed, part)
        return
    async for chunk in _chunks(request, idle):
        receiver.feed(chunk)


async def _json_body(request: Request, kind: type[T], limit: int) -> T:
    body = bytearray()
    async for chunk in _chunks(request, 10.0):
        body += chunk
        if len(body) > limit:
            raise refuse("too_large", f"The body has more than {limit} bytes.")
    return _parse(kind, bytes(body))


def _parse(kind: type[T], text: bytes) -> T:
    try:
        return _adapter(kind).validate_json(text)
    except ValidationError as error:
        raise refuse("invalid", _first_error(error)) from None


def _first_error(error: ValidationError) -> str:
    """Field and reason, without what was sent."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part)[:40] for part in first["loc"][:6]) or "body"
    return f"{place}: {first['msg']}."


_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {
    kind: TypeAdapter(kind) for kind in (ImageDescription, JobRequest, UploadRequest)
}


def _adapter(kind: type[T]) -> TypeAdapter[T]:
    return _ADAPTERS[kind]


# --------------------------------------------------------------------------- problems, OpenAPI


def _problem_response(reason: Problem) -> Response:
    headers = {"Retry-After": "1"} if reason.status in (429, 503) else None
    return Response(
        json.dumps(dataclasses.asdict(reason)),
        reason.status,
        headers,
        media_type="application/problem+json",
    )


def _add_problem_handlers(app: FastAPI) -> None:
    def service(request: Request, error: Exception) -> Response:
        assert isinstance(error, ServiceProblemError)
        return _problem_response(error.problem)

    def known(request: Request, error: Exception) -> Response:
        return _problem_response(problem("unsupported", f"{error}."))

    def fields(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        place = ".".join(str(part)[:40] for part in first["loc"][:4])
        return _problem_response(problem("invalid", f"{place}: {first['msg']}."))

    def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        codes = {404: "not_found", 405: "method_not_allowed"}
        code = codes.get(error.status_code, "malformed")
        response = _problem_response(problem(code, f"{error.detail}."))
        response.headers.update(error.headers or {})
        return response

    handlers: list[tuple[type[Exception], Callable[[Request, Exception], Response]]] = [
        (ServiceProblemError, service),
        (Sim4SegError, known),
        (RequestValidationError, fields),
        (HTTPException, http),
    ]
    for kind, handler in handlers:
        app.add_exception_handler(kind, handler)


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {
            "description": "Problem",
            "content": {"application/problem+json": {"schema": schema}},
        }
        for status in statuses
    }


def _body_of(kind: type[Any]) -> dict[str, Any]:
    reference = {"$ref": f"#/components/schemas/{kind.__name__}"}
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": reference}}}
    }


def _describe_security(app: FastAPI) -> None:
    """Bodies are read by hand, so their schemas are put into the document by hand as well."""
    original = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = original()
            schemas = document["components"]["schemas"]
            for kind in (Problem, JobRequest, UploadRequest, ImageDescription):
                schema = TypeAdapter(kind).json_schema(
                    ref_template="#/components/schemas/{model}", mode="validation"
                )
                schemas.update(schema.pop("$defs", {}))
                schemas[kind.__name__] = schema
            document["components"]["securitySchemes"] = {
                "token": {"type": "http", "scheme": "bearer"}
            }
            document["security"] = [{"token": []}]
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
