"""Who may do what: tokens, roles and rates. Knows nothing of FastAPI."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ..errors import Sim4SegError
from .protocol import NAME_PATTERN

Role = Literal["monitor", "user", "admin"]
_RANK: dict[Role, int] = {"monitor": 0, "user": 1, "admin": 2}
MIN_TOKEN_CHARACTERS = 16
MAX_TRACKED = 4096


@dataclass(frozen=True)
class Principal:
    """The owner of a token.

    Attributes:
        role: `monitor` sees health, `user` asks and sees own jobs, `admin` sees and ends all.
    """

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Whether the role is at least `role`."""
        return _RANK[self.role] >= _RANK[role]


def new_token() -> str:
    """A random token, 256 bits."""
    return secrets.token_urlsafe(32)


class TokenBook:
    """Tokens, kept as hashes."""

    def __init__(self, tokens: dict[str, tuple[str, Role]]) -> None:
        """
        Args:
            tokens: name -> (token, role).

        Raises:
            Sim4SegError: if there is none, or one is short or used twice.
        """
        if not tokens:
            raise Sim4SegError("a service needs at least one token")
        self._entries: list[tuple[bytes, Principal]] = []
        for name, (token, role) in tokens.items():
            if not re.fullmatch(NAME_PATTERN, name) or role not in get_args(Role):
                raise Sim4SegError("each token needs a plain name and a role: monitor, user, admin")
            if len(token) < MIN_TOKEN_CHARACTERS:
                raise Sim4SegError(
                    f"the token of {name} is too short; use {MIN_TOKEN_CHARACTERS} or more "
                    "random characters"
                )
            self._entries.append((_digest(token), Principal(name, role)))
        if len({digest for digest, _ in self._entries}) != len(self._entries):
            raise Sim4SegError("two names have the same token")

    @classmethod
    def from_file(cls, path: Path) -> TokenBook:
        """Read `{"name": {"token": "...", "role": "user"}, ...}`.

        Raises:
            Sim4SegError: if it cannot be read, or others may read it.
        """
        try:
            # Windows has no such bits; its files are private by where they lie.
            if os.name != "nt" and path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
                raise Sim4SegError(f"others may read {path}; run chmod 600 on it")
            values = json.loads(path.read_text(encoding="utf-8"))
            return cls({name: (entry["token"], entry["role"]) for name, entry in values.items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise Sim4SegError(
                f'cannot read tokens from {path}; it needs {{"name": {{"token": "...", '
                '"role": "user"}}}'
            ) from None

    def verify(self, authorization: str) -> Principal | None:
        """Whose token an Authorization header holds.

        Takes as long whichever token is wrong, and wherever it is wrong.
        """
        scheme, _, token = authorization.partition(" ")
        digest = _digest(token.strip())
        found: Principal | None = None
        for known, principal in self._entries:
            if hmac.compare_digest(known, digest):
                found = principal
        return found if scheme.lower() == "bearer" else None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


class RateLimiter:
    """A token bucket for each key; the keys that were quiet longest are forgotten."""

    def __init__(
        self, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def allows(self, key: str) -> bool:
        """Count one event; False if the key has had too many."""
        with self._lock:
            now = self._clock()
            level, since = self._buckets.pop(key, (self._burst, now))
            level = min(self._burst, level + (now - since) * self._per_second)
            allowed = level >= 1
            self._buckets[key] = (level - 1 if allowed else level, now)
            if len(self._buckets) > MAX_TRACKED:
                self._buckets.popitem(last=False)
            return allowed
