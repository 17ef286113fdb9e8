"""How far a query is, in the user's words."""

from __future__ import annotations

from slicer.i18n import tr as _


def progress_text(stage: str, remaining_s: float | None) -> str:
    """What is done now, and how long it will take."""
    text = stage_text(stage)
    if remaining_s is None:
        return text
    return text + _(", about {} s left").format(max(1, round(remaining_s)))


def stage_text(stage: str) -> str:
    """A service's stage for the user; a newer service's own word as it is."""
    texts = {
        "start": _("Starting the service"),
        "upload": _("Sending the image"),
        "queued": _("Waiting for others"),
        "load": _("Loading the model"),
        "encode": _("Looking at the image"),
        "answer": _("Writing the answer"),
        "mask": _("Drawing the mask"),
    }
    return texts.get(stage, stage)
