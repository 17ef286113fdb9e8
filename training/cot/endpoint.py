"""A vision-language model behind any OpenAI-compatible endpoint.

Images stay on this machine unless the configuration allows their upload; redirects are not
followed, since they could lead elsewhere. The key comes from the environment and appears in no
file and no message.
"""

from __future__ import annotations

import base64
import email.utils
import hashlib
import io
import ipaddress
import json
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from PIL import Image

from Sim4SegCore.errors import Sim4SegError

from .chat import Prompt
from .config import AssistantConfig
from .costs import CostBook, Price

PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""Status codes after which the same request may succeed."""
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
LONGEST_RETRY_AFTER_S = 600.0
EXCERPT = 200
"""Characters of a server's own words in a message."""


@dataclass(frozen=True)
class _Reply:
    text: str
    prompt_tokens: int
    completion_tokens: int


class _NonsenseError(Exception):
    """A reply that is no chat completion."""


class ReplyCache:
    """Replies by the hash of what was asked; a file that cannot be read is asked again."""

    def __init__(self, folder: Path) -> None:
        """Args: folder: made when the first reply is kept."""
        self._folder = folder

    def find(self, key: str) -> str | None:
        """The reply, or None."""
        try:
            reply = json.loads(self._path(key).read_text(encoding="utf-8"))["reply"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return reply if isinstance(reply, str) else None

    def keep(self, key: str, reply: str) -> None:
        """Store a reply whole or not at all.

        Raises:
            Sim4SegError: if it cannot be written.
        """
        path = self._path(key)
        part = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps({"reply": reply}), encoding="utf-8")
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise Sim4SegError(f"cannot write {path}: {error.strerror}") from None

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.json"


class RateLimit:
    """Lets calls through at even distances."""

    def __init__(self, per_minute: float, sleep: Callable[[float], object] = time.sleep) -> None:
        """Args: per_minute: at most so many calls; 0 for no limit."""
        self._distance = 60 / per_minute if per_minute > 0 else 0.0
        self._next = 0.0
        self._sleep = sleep
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Block until the next call is due."""
        with self._lock:
            now = time.monotonic()
            due = max(self._next, now)
            self._next = due + self._distance
        if due > now:
            self._sleep(due - now)


class _Bearer(requests.auth.AuthBase):
    """Sets the key itself, so that no .netrc entry replaces it."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


class EndpointChat:
    """Asks an endpoint, patiently, and never the same thing twice."""

    def __init__(
        self,
        config: AssistantConfig,
        cache: ReplyCache,
        costs: CostBook,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """Check the address before anything is sent.

        Args:
            sleep: waits so many seconds.

        Raises:
            Sim4SegError: if address or model is missing, or the address is not on this machine
                and upload is not allowed.
        """
        if not config.url or not config.model:
            raise Sim4SegError("an endpoint needs both url and model in the configuration")
        self._config, self._cache, self._costs, self._sleep = config, cache, costs, sleep
        local = is_loopback(config.url)
        if not local and not config.allow_upload:
            raise Sim4SegError(
                f"{_host(config.url)} is another machine and would receive the images; set "
                "allow_upload: true for this assistant if the data's owner permits it"
            )
        self._key = os.environ.get(config.key_variable, "").strip()
        self._auth = _Bearer(self._key)
        self._limit = RateLimit(config.requests_per_minute, sleep)
        # A proxy from the environment would carry images off although the endpoint is here.
        self._trust_environment = not local

    @property
    def name(self) -> str:
        """The endpoint's name of the model."""
        return self._config.model

    def reply(self, prompt: Prompt) -> str:
        """From the cache, else from the endpoint.

        Raises:
            Sim4SegError: see `Chat.reply`.
        """
        body = self._body(prompt)
        key = hashlib.sha256(
            json.dumps([self._config.url, body], sort_keys=True).encode()
        ).hexdigest()
        kept = self._cache.find(key)
        if kept is not None:
            return kept
        self._costs.check()
        reply = self._ask(body)
        price = Price(self._config.prompt_price, self._config.completion_price)
        # Counted before it is kept: a kill in between repeats the call, and counts both.
        self._costs.record(self.name, reply.prompt_tokens, reply.completion_tokens, price)
        self._cache.keep(key, reply.text)
        return reply.text

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        picture = {"type": "image_url", "image_url": {"url": data_url(prompt, self._config)}}
        return {
            "model": self._config.model,
            "temperature": self._config.temperature,
            "max_tokens": self._config.max_tokens,
            "messages": [
                {"role": "system", "content": prompt.system},
                {"role": "user", "content": [{"type": "text", "text": prompt.text}, picture]},
            ],
        }

    def _ask(self, body: dict[str, Any]) -> _Reply:
        problem = ""
        for attempt in range(1, self._config.attempts + 1):
            self._limit.wait()
            wait = _backoff(attempt)
            try:
                response = self._post(body)
                if response.status_code not in PASSING:
                    self._refuse_failure(response)
                    return _parse(response)
                problem = f"status {response.status_code}{self._words(response)}"
                wait = _retry_after(response) or wait
            except requests.RequestException as error:
                problem = _reason(error)
            except _NonsenseError as error:
                problem = str(error)
            if attempt < self._config.attempts:
                self._sleep(wait)
        raise Sim4SegError(
            f"no usable reply from {self._config.url} in {self._config.attempts} attempts: "
            f"{problem}; what was done is saved, run the same command again to go on"
        )

    def _post(self, body: dict[str, Any]) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = self._trust_environment
            return session.post(
                f"{self._config.url.rstrip('/')}/chat/completions",
                json=body,
                auth=self._auth,
                timeout=self._config.timeout_s,
                allow_redirects=False,
            )

    def _refuse_failure(self, response: requests.Response) -> None:
        status = response.status_code
        if status in (401, 403):
            raise Sim4SegError(
                f"{self._config.url} refuses the key (status {status}); set the environment "
                f"variable {self._config.key_variable} to a valid one"
            )
        if status != 200:
            raise Sim4SegError(
                f"{self._config.url} answers with status {status}{self._words(response)}"
            )

    def _words(self, response: requests.Response) -> str:
        """The server's explanation on one line, without the key should it repeat it."""
        words = " ".join(response.text.split())
        if self._key:
            words = words.replace(self._key, "***")
        return f": {words[:EXCERPT]}" if words else ""


def is_loopback(url: str) -> bool:
    """Whether a URL can only lead to this machine."""
    host = _host(url)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def data_url(prompt: Prompt, config: AssistantConfig) -> str:
    """The picture, made smaller, as a PNG in a URL."""
    picture = Image.fromarray(prompt.picture)
    picture.thumbnail((config.image_side, config.image_side))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _host(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Sim4SegError(
            f"'{url}' is no address of an endpoint, such as http://127.0.0.1:8000/v1"
        )
    return parts.hostname


def _parse(response: requests.Response) -> _Reply:
    try:
        body = response.json()
        text = body["choices"][0]["message"]["content"]
        usage = body.get("usage") or {}
        if not isinstance(text, str):
            raise TypeError
        return _Reply(
            text, int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0))
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise _NonsenseError("the reply is no chat completion") from None


def _backoff(attempt: int) -> float:
    return min(FIRST_WAIT_S * 2 ** (attempt - 1), LONGEST_WAIT_S) * random.uniform(0.8, 1.2)


def _retry_after(response: requests.Response) -> float:
    """Seconds that the server asks to wait, given as a number or as a date; 0 if not."""
    header = response.headers.get("Retry-After", "")
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - time.time()
        except ValueError:
            return 0.0
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_S)


def _reason(error: requests.RequestException) -> str:
    """In words of a user, without addresses of Python objects."""
    if isinstance(error, requests.Timeout):
        return "it did not answer in time"
    if isinstance(error, requests.ConnectionError):
        return "nobody answers at this address"
    return type(error).__name__
