"""The panel's choice of how much of the volume is looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from slicer.i18n import tr as _

from .binding import Bound
from .queries import SLICE

MODES = (SLICE, "slices", "volume")


class ModeBox:
    """A combo box and the parameter `mode`; offered is what the service can do."""

    def __init__(self, ui: Any, changed: Callable[[], None]) -> None:
        """
        Args:
            changed: called when there is another choice.
        """
        self.ui = ui
        self._changed = changed
        self._parameters: Any = None
        self._bound = Bound("mode", lambda: self.mode, self._write)
        self._fill(MODES)
        ui.modeComboBox.currentIndexChanged.connect(lambda *_: self._chosen())

    @property
    def mode(self) -> str:
        """The chosen one, as the service names it."""
        box = self.ui.modeComboBox
        return str(box.itemData(box.currentIndex) or SLICE)

    def bind(self, parameters: Any) -> None:
        """Follow parameters; None follows none."""
        self._parameters = parameters
        self._bound.bind(parameters)

    def offer(self, modes: Sequence[str]) -> None:
        """What the service can do; what was chosen stays chosen if it is among it."""
        self._fill(modes)
        self._changed()

    def _fill(self, modes: Sequence[str]) -> None:
        wanted = self.mode if self._parameters is None else self._parameters.mode
        box = self.ui.modeComboBox
        # Else the scene would forget the choice whenever a service cannot do it.
        box.blockSignals(True)
        box.clear()
        for mode in modes:
            box.addItem(mode_text(mode), mode)
        box.currentIndex = 0
        self._write(wanted)
        box.blockSignals(False)

    def _write(self, mode: str) -> None:
        index = self.ui.modeComboBox.findData(mode)
        if index >= 0:
            self.ui.modeComboBox.currentIndex = index

    def _chosen(self) -> None:
        self._bound.take()
        self._changed()


def mode_text(mode: str) -> str:
    """A mode in the user's words; of a newer service its own name."""
    texts = {
        SLICE: _("Current slice"),
        "slices": _("Volume, slice by slice"),
        "volume": _("Volume, in three dimensions"),
    }
    return texts.get(mode, mode)
