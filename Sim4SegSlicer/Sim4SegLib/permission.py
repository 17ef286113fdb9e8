"""What the user is asked before packages are installed, or images leave the computer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from .connection import ServiceSettings
from .installer import Installer


class Permission:
    """Asks once; the yes to a server holds until Slicer ends."""

    def __init__(
        self,
        installer: Installer,
        dialogs: Any,
        tell: Callable[[str], None],
        refuse: Callable[[str], None],
    ) -> None:
        """
        Args:
            dialogs: see `qt_parts`.
            tell: hears how far an installation is.
            refuse: hears what was not done since the user said no.
        """
        self._installer = installer
        self._dialogs = dialogs
        self._tell = tell
        self._refuse = refuse
        self._trusted_urls: set[str] = set()

    def may_ask(self, settings: ServiceSettings) -> bool:
        """Packages are there, or the images may leave this computer.

        Raises:
            Sim4SegError: if packages cannot be installed.
        """
        if settings.is_local:
            return self.is_installed()
        if settings.url in self._trusted_urls:
            return True
        question = _("The image you ask about will be sent to {}. Continue?").format(settings.url)
        if not self._dialogs.agrees(question):
            self._refuse(_("Nothing was sent."))
            return False
        self._trusted_urls.add(settings.url)
        return True

    def is_installed(self) -> bool:
        """Packages are there, if need be from now on.

        Raises:
            Sim4SegError: if they cannot be installed.
        """
        if not self._installer.missing():
            return True
        if not self._dialogs.agrees(self._installer.question()):
            self._refuse(_("The packages were not installed; nothing was asked."))
            return False
        self._installer.install(self._tell)
        return True
