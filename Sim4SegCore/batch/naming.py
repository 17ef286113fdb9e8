"""Names of folders made from names that users chose."""

from __future__ import annotations

import hashlib
import unicodedata

_MAX_READABLE = 48


def short_hash(text: str) -> str:
    """12 hexadecimal digits of SHA-256; file names that are not valid Unicode are fine."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def folder_name(text: str) -> str:
    """A readable folder name that every file system takes.

    The hash tells apart what looks the same: names that differ in case, in a sign that had to
    be replaced, or behind the place where long ones are cut. It depends on `text` alone, so
    that a study keeps its folder when the cohort grows.
    """
    normal = unicodedata.normalize("NFC", text)
    plain = "".join(c if c.isalnum() or c in "._-" else "_" for c in normal)
    return f"{plain[:_MAX_READABLE].strip('._') or 'item'}-{short_hash(text)}"
