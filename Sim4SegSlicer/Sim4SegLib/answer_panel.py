"""The panel's section Answer: a report, and what can be done with it. Qt and MRML's adapter."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from . import overlay, reports, segments, volumes
from .advanced_panel import ERROR
from .dataset import accept_report
from .exporting import Exported, export_report
from .nodes import nodes_of_class
from .report_text import SLICE_LINK, as_html, mask_candidates, votes
from .unexpected import sentence_of

_AXES = "kji"


class AnswerPanel:
    """One report at a time, the parameters' `shownReport`."""

    def __init__(
        self,
        ui: Any,
        dialogs: Any,
        application: Any,
        scene: Callable[[], Any],
        is_busy: Callable[[], bool],
    ) -> None:
        """
        Args:
            dialogs, application: see `qt_parts`.
            scene: gives the application's scene.
            is_busy: whether a query runs.
        """
        self.ui = ui
        self._dialogs = dialogs
        self._application = application
        self._scene = scene
        self._is_busy = is_busy
        self._parameters: Any = None
        ui.editButton.clicked.connect(lambda *_: self.edit())
        ui.acceptButton.clicked.connect(lambda *_: self.accept())
        ui.exportButton.clicked.connect(lambda *_: self.export())
        ui.discardButton.clicked.connect(lambda *_: self.discard())
        ui.votesCheckBox.toggled.connect(lambda *_: self.show_report())
        ui.surfaceCheckBox.toggled.connect(lambda *_: self.show_surfaces())
        ui.reportSelector.currentNodeChanged.connect(lambda *_: self._choose())
        ui.opacitySlider.valueChanged.connect(lambda *_: self._show_similarity())
        ui.reportBrowser.anchorClicked.connect(self._follow)
        ui.reportSelector.addAttribute("vtkMRMLTextNode", reports.DOCUMENT_ATTRIBUTE)

    def set_parameters(self, parameters: Any) -> None:
        """Another scene's parameters, or None while there is none."""
        self._parameters = parameters
        self.show_report()

    def update(self) -> None:
        """Enable what can be done now."""
        is_free = not self._is_busy()
        has_report = self.report() is not None
        self.ui.editButton.enabled = bool(self._segments()) and is_free
        for button in (self.ui.acceptButton, self.ui.exportButton, self.ui.discardButton):
            button.enabled = has_report and is_free
        self.ui.opacitySlider.enabled = self._similarity() is not None

    def report(self) -> Any | None:
        """The chosen report."""
        if self._parameters is None:
            return None
        report = self._parameters.shownReport
        return report if report is not None and reports.document_of(report) else None

    def show_report(self) -> None:
        """The chosen report and its similarity map."""
        report = self.report()
        document = None if report is None else reports.document_of(report)
        has_votes = document is not None and bool(votes(document) or mask_candidates(document))
        self.ui.votesCheckBox.visible = has_votes
        shown = "" if document is None else as_html(document, self.ui.votesCheckBox.checked)
        self.ui.reportBrowser.html = shown
        self._show_similarity()
        self.update()

    def show_surfaces(self) -> None:
        """What was found in a volume, in 3D, or not."""
        report = self.report()
        if report is not None and reports.plane_of(report) is None and self._segments():
            node = report.GetNodeReference(reports.SEGMENTATION_ROLE)
            segments.show_surfaces(node, self.ui.surfaceCheckBox.checked)

    def edit(self) -> None:
        """Correct the segments."""
        report, identities = self.report(), self._segments()
        if report is not None and identities:
            self._application.edit_segments(
                report.GetNodeReference(reports.SEGMENTATION_ROLE),
                report.GetNodeReference(reports.VOLUME_ROLE),
                identities[0],
            )

    def accept(self) -> None:
        """Write the report's image and corrected masks as a training record."""
        report = self.report()
        folder = self._parameters.datasetFolder or self._dialogs.choose_folder(_("Dataset folder"))
        if folder and report is not None:
            self._parameters.datasetFolder = folder
            self._do(lambda: _("Accepted as {}").format(accept_report(report, Path(folder))))

    def export(self) -> None:
        """Write report, picture, answer and masks into a new folder."""
        report = self.report()
        folder = self._dialogs.choose_folder(_("Export into"))
        if folder and report is not None:
            application = self._application

            def export() -> str:
                exported = export_report(
                    report, Path(folder), application.write_pdf, application.dicom_file
                )
                return _export_sentence(exported)

            self._do(export)

    def discard(self) -> None:
        """Remove the answer, after asking."""
        report = self.report()
        question = _("Remove this answer and its segments, corrections included, from the scene?")
        if report is not None and self._dialogs.agrees(question):
            scene = self._scene()
            scene.SaveStateForUndo()
            reports.remove_answer(scene, report)
            left = nodes_of_class(scene, "vtkMRMLTextNode")
            others = [node for node in left if reports.document_of(node) is not None]
            self._parameters.shownReport = others[-1] if others else None
            self.ui.statusLabel.text = _("The answer was removed.")
            self.show_report()

    def _choose(self) -> None:
        """Another report was picked, or the one that was shown is gone."""
        chosen = self.ui.reportSelector.currentNode()
        # Slicer's own slot does this as well, but only after this one.
        if self._parameters is not None and self._parameters.shownReport is not chosen:
            self._parameters.shownReport = chosen
        self.show_report()

    def _follow(self, url: Any) -> None:
        """A link in the report: to a slice of the volume."""
        report = self.report()
        target = str(url.toString())
        document = None if report is None else reports.document_of(report)
        if report is None or document is None or not target.startswith(SLICE_LINK):
            return
        axis = _AXES.index(document["volume"]["axis"])
        volume = report.GetNodeReference(reports.VOLUME_ROLE)
        if volume is not None:
            index = int(target.removeprefix(SLICE_LINK))
            volumes.jump_to(self._scene(), volumes.slice_centre(volume, axis, index))

    def _segments(self) -> tuple[str, ...]:
        report = self.report()
        node = None if report is None else report.GetNodeReference(reports.SEGMENTATION_ROLE)
        if node is None:
            return ()
        segmentation = node.GetSegmentation()
        return tuple(
            each
            for each in reports.segments_of(report)
            if segmentation.GetSegment(each) is not None
        )

    def _similarity(self) -> Any | None:
        report = self.report()
        return None if report is None else report.GetNodeReference(reports.SIMILARITY_ROLE)

    def _show_similarity(self) -> None:
        opacity = self.ui.opacitySlider.value / 100
        overlay.show_similarity(self._scene(), self._similarity(), opacity)

    def _do(self, action: Callable[[], str]) -> None:
        try:
            self.ui.statusLabel.text = html.escape(action())
        except Exception as error:
            # Nobody else would hear of it: Qt drops what a slot raises.
            self.ui.statusLabel.text = ERROR.format(html.escape(sentence_of(error)))


def _export_sentence(exported: Exported) -> str:
    text = _("Exported to {}").format(exported.folder)
    if exported.without_dicom:
        text += ". " + _("No DICOM objects: {}.").format(exported.without_dicom)
    return text
