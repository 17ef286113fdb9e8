"""What every request passes before the application sees it: token, rate, sizes, the log.

Pure ASGI, since bodies of gigabytes and event streams pass through. Logs methods, routes, names of
tokens, status and time; never queries, hashes, identifiers or addresses inside images.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from .config import ServiceLimits
from .problems import ServiceProblemError, described, problem, refuse
from .protocol import CLIENT_HEADER, NAME_PATTERN, PROTOCOL_VERSION, Problem
from .security import RateLimiter, TokenBook

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOG = logging.getLogger(__name__)
_LONG_BODIES = re.compile(r"/v1/images|/v1/uploads/[^/]*")
_SECURITY_HEADERS = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"sim4seg-protocol", PROTOCOL_VERSION.encode()),
]


class Gate:
    """Middleware around the whole application."""

    def __init__(self, app: App, tokens: TokenBook, limits: ServiceLimits) -> None:
        self._app = app
        self._tokens = tokens
        self._limits = limits
        self._rates = RateLimiter(limits.requests_per_second, limits.request_burst)
        self._wrong = RateLimiter(limits.wrong_tokens_per_second, limits.wrong_token_burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        status, has_begun = 500, False

        async def send_and_note(message: Message) -> None:
            nonlocal status, has_begun
            if message["type"] == "http.response.start":
                status, has_begun = message["status"], True
                message["headers"] = [*message.get("headers", []), *_SECURITY_HEADERS]
            await send(message)

        try:
            self._admit(scope)
            await self._app(scope, receive, send_and_note)
        except ServiceProblemError as error:
            await send_problem(error.problem, send_and_note)
        except Exception as error:
            # Caught here, since the server would log its message.
            LOG.error("a request failed unexpectedly: %s", described(error))
            if not has_begun:
                reason = problem("internal", "The request failed unexpectedly.")
                await send_problem(reason, send_and_note)
        finally:
            self._log(scope, status, time.perf_counter() - started)

    def _admit(self, scope: Scope) -> None:
        """Check headers; the scope's state then holds `principal` and `client`."""
        headers = scope["headers"]
        if sum(len(name) + len(value) for name, value in headers) > self._limits.max_header_bytes:
            raise refuse("headers_too_large", "The request's headers are too large.")
        values = {name: value.decode("latin-1") for name, value in headers}
        principal = self._tokens.verify(values.get(b"authorization", ""))
        if principal is None:
            address = (scope.get("client") or ("unknown",))[0]
            if not self._wrong.allows(address):
                raise refuse("rate_limited", "Too many wrong tokens came from this address.")
            raise refuse("unauthorized", "The request has no valid token.")
        if not self._rates.allows(principal.name):
            raise refuse("rate_limited", "This token has made too many requests.")
        client = values.get(CLIENT_HEADER.lower().encode(), "default")
        if not re.fullmatch(NAME_PATTERN, client):
            raise refuse("malformed", f"The header {CLIENT_HEADER} is not a plain name.")
        self._check_length(scope, values.get(b"content-length"))
        scope.setdefault("state", {}).update(principal=principal, client=client)

    def _check_length(self, scope: Scope, length: str | None) -> None:
        limits = self._limits
        is_long = _LONG_BODIES.fullmatch(scope["path"]) is not None
        allowed = limits.max_image_bytes if is_long else limits.max_body_bytes
        if length is not None and length.isdigit() and int(length) > allowed:
            raise refuse("too_large", f"The body has more than {allowed} bytes.")

    def _log(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "-")
        principal = scope.get("state", {}).get("principal")
        who = "-" if principal is None else principal.name
        level = logging.WARNING if status >= 500 else logging.INFO
        LOG.log(level, "%s %s %s %d %.0f ms", who, scope["method"], route, status, seconds * 1e3)


async def send_problem(reason: Problem, send: Send) -> None:
    """A whole response."""
    body = json.dumps(dataclasses.asdict(reason)).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
    ]
    if reason.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if reason.status in (429, 503):
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": reason.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
