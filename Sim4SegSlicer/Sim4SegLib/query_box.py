"""The panel's query: typed, or taken from examples and recent ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from .binding import Bound
from .examples import QUERIES
from .recent import RecentQueries


class QueryBox:
    """A text box, the parameter `query`, and a list to choose from."""

    def __init__(self, ui: Any, recent: RecentQueries, changed: Callable[[], None]) -> None:
        """
        Args:
            changed: called when there is another text.
        """
        self.ui = ui
        self._recent = recent
        self._changed = changed
        self._bound = Bound("query", lambda: ui.queryTextEdit.plainText, self._write)
        ui.queryTextEdit.textChanged.connect(self._typed)
        ui.exampleComboBox.activated.connect(lambda *_: self._choose())
        self._show_choices()

    @property
    def text(self) -> str:
        """As it stands there."""
        return str(self.ui.queryTextEdit.plainText)

    def bind(self, parameters: Any) -> None:
        """Follow parameters; None follows none."""
        self._bound.bind(parameters)

    def remember(self, query: str) -> None:
        """Offer a query from now on."""
        self._recent.add(query)
        self._show_choices()

    def _write(self, query: str) -> None:
        self.ui.queryTextEdit.plainText = query

    def _typed(self) -> None:
        self._bound.take()
        self._changed()

    def _choices(self) -> list[str]:
        recent = self._recent.queries
        return [*recent, *(query for query in QUERIES if query not in recent)]

    def _show_choices(self) -> None:
        self.ui.exampleComboBox.clear()
        self.ui.exampleComboBox.addItem(_("Examples and recent queries"))
        for query in self._choices():
            self.ui.exampleComboBox.addItem(query)
        self.ui.exampleComboBox.currentIndex = 0

    def _choose(self) -> None:
        index = self.ui.exampleComboBox.currentIndex
        if index > 0:
            self._write(self._choices()[index - 1])
        self.ui.exampleComboBox.currentIndex = 0
