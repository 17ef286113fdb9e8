"""Buttons beside text fields that choose a path. Qt, no MRML."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def browse(button: Any, line_edit: Any, choose: Callable[[], str]) -> None:
    """Let a button fill a text field.

    Args:
        choose: asks the user; empty if the user thinks better of it.
    """

    def chosen(*_: Any) -> None:
        if path := choose():
            line_edit.text = path

    button.clicked.connect(chosen)
