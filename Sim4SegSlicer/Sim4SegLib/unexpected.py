"""What the user is told when something fails. No Qt, no MRML."""

from __future__ import annotations

from slicer.i18n import tr as _

from Sim4SegCore.errors import Sim4SegError

from .defects import log_defect


def sentence_of(error: Exception) -> str:
    """One sentence for the panel; of an error that nobody foresaw the log keeps the place."""
    if isinstance(error, Sim4SegError):
        text = str(error)
    else:
        log_defect(error)
        # Its own words stay out: they may hold a name, or a path with one.
        name = type(error).__name__
        text = _("This failed unexpectedly ({}); the application log says where.").format(name)
    return text[:1].upper() + text[1:]
