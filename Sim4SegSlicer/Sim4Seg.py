"""Ask an image of the scene a clinical question: metadata, and the parts wired together."""

import json
import sys
import tempfile
from pathlib import Path

import slicer
from Sim4SegLib.batch import FolderBatch, ask_all, read_queries
from Sim4SegLib.connection import Connection, ServiceSettings, python_of_slicer
from Sim4SegLib.images import image_looked_at
from Sim4SegLib.parameters import Sim4SegParameterNode
from Sim4SegLib.queries import Listeners, Queries, QueryRequest
from Sim4SegLib.terms import CONTEXT, slicer_terminology
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class Sim4Seg(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Sim4Seg")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["Segmentations"]
        parent.contributors = ["Sim4Seg contributors"]
        parent.helpText = _(
            "Ask an image a clinical question and get a segmentation, a suggested diagnosis and "
            "the reasoning behind it. Research tool, not a medical device."
        )
        parent.acknowledgementText = _("After the method of Sim4Seg (arXiv:2511.06665).")


class Sim4SegWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Loads the panel and tells it when scenes come and go."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None
        self._parameters = None
        self._tag = None

    def setup(self):
        """Called when the module is opened for the first time."""
        ScriptedLoadableModuleWidget.setup(self)
        import qt
        from Sim4SegLib.errands import Errands
        from Sim4SegLib.installer import Installer, SlicerPip
        from Sim4SegLib.panel import Panel
        from Sim4SegLib.qt_parts import Application, Dialogs, QtTicker, Settings
        from Sim4SegLib.recent import RecentQueries

        root = slicer.util.loadUI(self.resourcePath("UI/Sim4Seg.ui"))
        self.layout.addWidget(root)
        self.ui = slicer.util.childWidgetVariables(root)
        root.setMRMLScene(slicer.mrmlScene)
        load_terms()
        self.logic = Sim4SegLogic()
        self.panel = Panel(
            self.ui,
            self.logic.queries,
            self.logic.connection,
            Installer(SlicerPip(), python_of_slicer()),
            self.logic.models,
            Errands(QtTicker()),
            Dialogs(),
            Application(),
            RecentQueries(Settings()),
            self.logic.makeFolderBatch,
            QtTicker(),
            lambda: slicer.mrmlScene,
        )
        self.logic.changed = self.panel.queries_changed
        # Return, and Enter of the keypad.
        self.shortcuts = [
            qt.QShortcut(qt.QKeySequence(keys), root) for keys in ("Ctrl+Return", "Ctrl+Enter")
        ]
        for shortcut in self.shortcuts:
            shortcut.activated.connect(self.panel.apply)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEndImport)
        self._take_parameters()

    def cleanup(self):
        """Called when the module is reloaded or Slicer ends."""
        self.removeObservers()
        if self.logic is not None:
            self.logic.changed = lambda: None
        self._leave_parameters()
        if self.panel is not None:
            self.panel.close()
        if self.logic is not None:
            self.logic.close()

    def onReload(self):
        """Slicer reloads this file only; what it imports is to be read anew as well."""
        for name in list(sys.modules):
            if name.split(".")[0] == "Sim4SegLib":
                del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def enter(self):
        """Called each time the module is opened."""
        self._take_parameters()

    def exit(self):
        """Called each time another module is opened: a query goes on, the widgets rest."""
        self._unbind()

    def onSceneStartClose(self, caller, event):
        """What runs is about a volume that goes."""
        self.panel.cancel()
        self._leave_parameters()

    def onSceneEndClose(self, caller, event):
        """A new scene has parameters of its own."""
        if self.parent.isEntered:
            self._take_parameters()

    def onSceneEndImport(self, caller, event):
        """Slicer read the parameters before the nodes that they name were there."""
        self._leave_parameters()
        self._take_parameters(is_shown=self.parent.isEntered)

    def _take_parameters(self, is_shown=True):
        """The scene's parameters, bound to the widgets where those are seen."""
        is_new = self._parameters is None
        if is_new:
            self._parameters = self.logic.getParameterNode()
        if self._parameters.inputVolume is None:
            self._parameters.inputVolume = image_looked_at(slicer.mrmlScene)
        if is_new:
            self.panel.set_parameters(self._parameters)
        if is_shown and self._tag is None:
            self._tag = self._parameters.connectGui(self.ui)
            self.panel.bind(self._parameters)

    def _leave_parameters(self):
        """The scene goes."""
        self._unbind()
        if self._parameters is not None:
            self.panel.set_parameters(None)
            self._parameters = None

    def _unbind(self):
        if self._tag is not None:
            self.panel.bind(None)
            self._parameters.disconnectGui(self._tag)
            self._tag = None


class Sim4SegLogic(ScriptedLoadableModuleLogic):
    """For the console and for other modules.

    logic = slicer.util.getModuleLogic("Sim4Seg")
    result = logic.process(volumeNode, "Is there a tumor?")
    result.segmentationNode, result.textNode, result.diagnosis
    """

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        from Sim4SegLib.model_store import HUB_CACHE_VARIABLE, ModelStore
        from Sim4SegLib.qt_parts import Application, QtTicker, data_folder

        self.models = ModelStore(data_folder())
        self.connection = Connection(environment={HUB_CACHE_VARIABLE: str(self.models.hub_cache)})
        self.pump = Application().process_events
        self.changed = lambda: None
        ticker = QtTicker(lambda: self.changed())
        self.queries = Queries(lambda: slicer.mrmlScene, self.connection, ticker, self.pump)

    def getParameterNode(self):
        """The scene's parameters, as `Sim4SegParameterNode`."""
        return Sim4SegParameterNode(super().getParameterNode())

    def process(
        self,
        volumeNode,
        query,
        wait=True,
        mode="slice",
        sliceNode=None,
        settings=None,
        listeners=None,
        roiNode=None,
        positiveNode=None,
        negativeNode=None,
        samples=None,
        masks=None,
        seed=None,
    ):
        """Ask a query about a volume.

        Args:
            wait: come back with the answer; else at once, and `listeners` hear of it.
            mode: `slice`, `slices` (a volume slice by slice), `volume` (in three dimensions), or
                another one of the service's.
            sliceNode: slice view whose slice is meant; None is the middle one.
            settings: a ServiceSettings; None is the embedded model on this computer.
            listeners: a Listeners, called on the main thread.
            roiNode: vtkMRMLMarkupsROINode; only what lies in it is shown to the model.
            positiveNode, negativeNode: vtkMRMLMarkupsFiducialNode; parts of the mask that their
                points touch are kept, or left out.
            samples, masks: of a slice, how many answers and masks are combined.
            seed: of sampled answers.

        Returns:
            A QueryResult, or a RunningQuery if not waited for.

        Raises:
            Sim4SegError: if it cannot be asked or, when waited for, answered.
        """
        request = QueryRequest(
            volumeNode,
            query,
            mode,
            sliceNode,
            roiNode=roiNode,
            positiveNode=positiveNode,
            negativeNode=negativeNode,
            samples=samples,
            masks=masks,
            seed=seed,
        )
        running = self.queries.start(
            request, settings or ServiceSettings(), listeners or Listeners()
        )
        return self.queries.wait(running) if wait else running

    def processAll(self, volumeNodes, queries, mode="slice", settings=None, told=None):
        """Ask about each of several volumes, one after the other; what fails does not end the rest.

        Args:
            queries: one query, a list of queries, or the path of a CSV file with the column query.
            told: called with each BatchRow.

        Returns:
            A BatchRows: a list of `volumeNode, query, result, error` that can `save(path)` a table.
        """
        if _is_csv(queries):
            queries = read_queries(queries)
        elif isinstance(queries, str):
            queries = [queries]

        def ask(node, query):
            return self.process(node, query, mode=mode, settings=settings)

        return ask_all(volumeNodes, queries, ask, told or (lambda row: None))

    def processFolder(self, studies, queries, output, settings=None, told=None):
        """Ask about every image of a folder, as `sim4seg batch` does; nothing enters the scene.

        The same call goes on where an earlier one was stopped.

        Args:
            studies: a folder, or a CSV file that lists images.
            queries: a query, or the path of a CSV file with the column query.
            output: folder for the table and the results.
            told: called with each line of progress; None prints it.

        Returns:
            Whether all could be answered; what could not stands in the table with the reason.

        Raises:
            Sim4SegError: if it does not finish.
        """
        batch = self.makeFolderBatch(studies, queries, output, settings)
        batch.start()
        try:
            while not batch.is_over:
                for line in batch.poll():
                    (told or print)(line)
                self.pump()
            return batch.finish() == 0
        finally:
            batch.cancel()

    def makeFolderBatch(self, studies, queries, output, settings=None):
        """What `processFolder` starts; the arguments are the same."""
        is_csv = _is_csv(queries)
        return FolderBatch(
            Path(studies),
            Path(output),
            python_of_slicer(),
            queries=Path(queries) if is_csv else None,
            query="" if is_csv else queries,
            settings=settings,
            environment=self.connection.environment,
        )

    def close(self):
        """End what runs, and the local service."""
        self.queries.close()


def _is_csv(queries):
    return isinstance(queries, Path) or (
        isinstance(queries, str) and queries.lower().endswith(".csv")
    )


class Sim4SegTest(ScriptedLoadableModuleTest):
    """Run by Slicer's own test driver."""

    def runTest(self):
        """Each test with an empty scene."""
        slicer.mrmlScene.Clear()
        self.test_sample_is_answered()

    def test_sample_is_answered(self):
        """The sample and its query give a report; needs the packages of the local service."""
        from Sim4SegLib.examples import QUERIES, add_sample
        from Sim4SegLib.installer import Installer, SlicerPip

        if Installer(SlicerPip(), python_of_slicer()).missing():
            self.delayDisplay("Skipped: the packages of the local service are not installed")
            return
        logic = Sim4SegLogic()
        result = logic.process(add_sample(slicer.mrmlScene), QUERIES[0])
        logic.close()
        self.assertIn(QUERIES[0], result.textNode.GetText())


def load_terms():
    """Make the findings' terminology known to Slicer, once."""
    logic = slicer.modules.terminologies.logic()
    if logic.IsTerminologyContextLoaded(CONTEXT):
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "Sim4Seg.term.json"
        path.write_text(json.dumps(slicer_terminology()), encoding="utf-8")
        logic.LoadTerminologyFromFile(str(path))
