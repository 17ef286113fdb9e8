"""The queries that were asked last, kept in Slicer's settings."""

from __future__ import annotations

import json
from typing import Any, Protocol

RECENT = 10
_KEY = "Sim4Seg/RecentQueries"


class Settings(Protocol):
    """Keeps texts beyond Slicer's end; see `qt_parts.Settings`."""

    def read(self, key: str) -> str: ...

    def write(self, key: str, text: str) -> None: ...


class RecentQueries:
    """The latest one first, each once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.queries = _queries_in(settings.read(_KEY))

    def add(self, query: str) -> None:
        """One more; the oldest one goes."""
        others = [known for known in self.queries if known != query]
        self.queries = [query, *others][:RECENT]
        # One text, since Qt's settings give a list of one text back as a text.
        self._settings.write(_KEY, json.dumps(self.queries))


def _queries_in(text: str) -> list[str]:
    """None where somebody else has written there."""
    try:
        values: Any = json.loads(text or "[]")
    except ValueError:
        return []
    is_ours = isinstance(values, list) and all(isinstance(value, str) for value in values)
    return values if is_ours else []
