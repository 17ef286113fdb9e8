"""HTTP as the client needs it: token, TLS, proxies, retries, problems as exceptions.

Proxies and CA bundles are taken from the environment (HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE)
or given; loopback never goes through a proxy. TLS is never switched off, redirects are not
followed, and the token goes to the service's own address only.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import itertools
import secrets
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from ..errors import Sim4SegError
from .protocol import CLIENT_HEADER, Problem, pick

Endpoint = tuple[str, str]
"""(URL, token)."""

CONNECT_S = 5.0
READ_S = 60.0
RETRIES = 5
BACKOFF_S = 0.2
LONGEST_PAUSE_S = 5.0
RESTART_S = 60.0
"""How long a service may be away that somebody awaits an answer of."""
SIGN_S = 0.4
_RETRIED_STATUSES = (429, 502, 503)


class ServiceError(Sim4SegError):
    """The service said no, or could not be reached; `problem` says why and what to do."""

    def __init__(self, problem: Problem) -> None:
        action = problem.action.rstrip(".")
        super().__init__(f"{problem.detail.rstrip('.')}; {action[:1].lower()}{action[1:]}")
        self.problem = problem


def own_problem(code: str, detail: str, action: str) -> ServiceError:
    """A problem that the client found itself; its status is 0."""
    return ServiceError(Problem(0, code, "No answer", detail, action))


class _Bearer(AuthBase):
    """Given explicitly, so that an entry in .netrc does not replace the token."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class Transport:
    """Sends requests; every request of the protocol may be repeated without harm."""

    def __init__(
        self,
        endpoint: Callable[[], Endpoint],
        name: str | None = None,
        ca_bundle: str | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> None:
        """See `Client`."""
        self._endpoint = endpoint
        self._ca_bundle = ca_bundle
        self._proxies = dict(proxies or {})
        self._name = name or secrets.token_hex(8)
        self._session: requests.Session | None = None
        self._url = ""
        self._auth = _Bearer("")
        self._sign: Callable[[], object] | None = None

    @property
    def is_local(self) -> bool:
        """Whether the service is on this machine."""
        self._connected()
        host = urlsplit(self._url).hostname or ""
        try:
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    def close(self) -> None:
        """Close connections; the next request opens new ones, to where the service is then."""
        if self._session is not None:
            self._session.close()
        self._session = None

    @contextlib.contextmanager
    def awaiting(self, sign: Callable[[], object]) -> Iterator[None]:
        """For the time of a block, a service that goes away may come back as after a restart.

        Args:
            sign: called at least twice a second between attempts; may raise to end them.
        """
        before, self._sign = self._sign, sign
        try:
            yield
        finally:
            self._sign = before

    def values(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        data: bytes | memoryview | None = None,
        headers: Mapping[str, str] | None = None,
        retries: int | None = None,
    ) -> dict[str, Any]:
        """A response's JSON object; see `request`."""
        response = self.request(
            method, path, json=json, data=data, headers=headers, retries=retries
        )
        try:
            values = response.json()
        except ValueError:
            values = None
        if not isinstance(values, dict):
            raise foreign(response)
        return values

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        data: bytes | memoryview | None = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
        read_s: float = READ_S,
        retries: int | None = None,
    ) -> requests.Response:
        """A response that says yes.

        Args:
            retries: None is as many as usual, and more of them while an answer is awaited.

        Raises:
            ServiceError: if it is refused, or the service is not reached in several attempts.
        """
        sign = self._sign if retries is None else None
        most = RETRIES if retries is None else retries
        until = time.monotonic() + (0.0 if sign is None else RESTART_S)
        for attempt in itertools.count():
            is_last = attempt >= most and time.monotonic() >= until
            try:
                response = self._send(method, path, json, data, headers, stream, read_s)
            except requests.RequestException as error:
                self.close()
                if _is_untrusted(error):
                    raise _untrusted() from None
                if is_last:
                    raise _unreachable() from None
            else:
                if 200 <= response.status_code < 300:
                    return response
                problem = _problem_of(response)
                if is_last or response.status_code not in _RETRIED_STATUSES:
                    raise problem
            _rest(_pause(attempt), sign)
        raise AssertionError("the last attempt returns or raises")

    def _send(
        self,
        method: str,
        path: str,
        json: Any,
        data: bytes | memoryview | None,
        headers: Mapping[str, str] | None,
        stream: bool,
        read_s: float,
    ) -> requests.Response:
        session = self._connected()
        url = f"{self._url}{path}"
        settings = session.merge_environment_settings(
            url, self._proxies, stream, self._ca_bundle, None
        )
        if url.startswith("https:") and isinstance(settings["verify"], str):
            _check_bundle(settings["verify"])
        body: Any = data  # requests sends any buffer, which its stubs do not know
        return session.request(
            method,
            url,
            json=json,
            data=body,
            headers=dict(headers or {}),
            auth=self._auth,
            timeout=(CONNECT_S, read_s),
            allow_redirects=False,
            stream=stream,
            proxies=settings["proxies"],
            verify=settings["verify"],
        )

    def _connected(self) -> requests.Session:
        if self._session is None:
            url, token = self._endpoint()
            self._url, self._auth = url.rstrip("/"), _Bearer(token)
            self._session = requests.Session()
            self._session.headers[CLIENT_HEADER] = self._name
            self._session.trust_env = not self.is_local
        return self._session


def _pause(attempt: int) -> float:
    """Longer each time, and not the same for all clients."""
    spread = 0.5 + secrets.randbelow(1000) / 1000
    return min(LONGEST_PAUSE_S, BACKOFF_S * 2.0 ** min(attempt, 10) * spread)


def _rest(seconds: float, sign: Callable[[], object] | None) -> None:
    until = time.monotonic() + seconds
    while (rest := until - time.monotonic()) > 0:
        if sign is not None:
            sign()
        time.sleep(min(rest, SIGN_S))


@functools.lru_cache(maxsize=8)
def _check_bundle(path: str) -> None:
    """Once for each: requests says nothing clear about one that cannot be used.

    Raises:
        ServiceError: if there are no certificates.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if Path(path).is_dir():
            context.load_verify_locations(capath=path)
        else:
            context.load_verify_locations(cafile=path)
    except OSError:
        raise own_problem(
            "tls",
            "The CA bundle cannot be read",
            "Give a PEM file with certificates, or set REQUESTS_CA_BUNDLE to one.",
        ) from None


def _is_untrusted(error: requests.RequestException) -> bool:
    """Other errors of TLS, such as a broken line, may be over with the next attempt."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


def _untrusted() -> ServiceError:
    return own_problem(
        "tls",
        "The service's certificate is not trusted",
        "Give the CA bundle that signed it, or set REQUESTS_CA_BUNDLE.",
    )


def _unreachable() -> ServiceError:
    return own_problem(
        "unreachable",
        "The service cannot be reached, or went away",
        "Check that it runs and that its address, proxy and firewall are right.",
    )


def _problem_of(response: requests.Response) -> ServiceError:
    try:
        return ServiceError(pick(Problem, response.json()))
    except (ValueError, AttributeError, requests.RequestException, Sim4SegError):
        return foreign(response)


def foreign(response: requests.Response) -> ServiceError:
    """Something else has answered."""
    return own_problem(
        "foreign",
        f"The address answered with status {response.status_code}, but not as Sim4Seg does",
        "Check the address, and any proxy on the way.",
    )
