"""Ask an image of the scene a clinical question: metadata, and the parts wired together."""

import slicer
from Sim4SegLib.connection import Connection, ServiceSettings, python_of_slicer
from Sim4SegLib.parameters import Sim4SegParameterNode
from Sim4SegLib.queries import Listeners, Queries, QueryRequest
from Sim4SegLib.terms import TERMS_FILE
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
        from Sim4SegLib.installer import Installer, SlicerPip
        from Sim4SegLib.panel import Panel
        from Sim4SegLib.qt_parts import Application, Dialogs

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
            Dialogs(),
            Application(),
            lambda: slicer.mrmlScene,
        )
        self.shortcut = qt.QShortcut(qt.QKeySequence("Ctrl+Return"), root)
        self.shortcut.activated.connect(self.panel.apply)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        self._take_parameters()

    def cleanup(self):
        """Called when the module is reloaded or Slicer ends."""
        self.removeObservers()
        self._leave_parameters()
        if self.logic is not None:
            self.logic.close()

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

    def _take_parameters(self):
        """The scene's parameters, bound to the widgets."""
        is_new = self._parameters is None
        if is_new:
            self._parameters = self.logic.getParameterNode()
        if self._tag is None:
            self._tag = self._parameters.connectGui(self.ui)
        if self._parameters.inputVolume is None:
            volume = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
            self._parameters.inputVolume = volume
        if is_new:
            self.panel.set_parameters(self._parameters)

    def _leave_parameters(self):
        """The scene goes."""
        self._unbind()
        if self._parameters is not None:
            self.panel.set_parameters(None)
            self._parameters = None

    def _unbind(self):
        if self._tag is not None:
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
        from Sim4SegLib.qt_parts import Application, QtTicker

        self.connection = Connection()
        self.queries = Queries(
            lambda: slicer.mrmlScene, self.connection, QtTicker(), Application().process_events
        )

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
    ):
        """Ask a query about a volume.

        Args:
            wait: come back with the answer; else at once, and `listeners` hear of it.
            mode: `slice`, or another one of the service's modes.
            sliceNode: slice view whose slice is meant; None is the middle one.
            settings: a ServiceSettings; None is the embedded model on this computer.
            listeners: a Listeners, called on the main thread.

        Returns:
            A QueryResult, or a RunningQuery if not waited for.

        Raises:
            Sim4SegError: if it cannot be asked or, when waited for, answered.
        """
        request = QueryRequest(volumeNode, query, mode, sliceNode)
        running = self.queries.start(
            request, settings or ServiceSettings(), listeners or Listeners()
        )
        return self.queries.wait(running) if wait else running

    def processAll(self, volumeNodes, query, settings=None):
        """Ask one query about each of several volumes, one after the other.

        Returns:
            A list of QueryResult.
        """
        return [self.process(node, query, settings=settings) for node in volumeNodes]

    def close(self):
        """End what runs, and the local service."""
        self.queries.close()


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
    """Make the module's terminology known to Slicer, once."""
    logic = slicer.modules.terminologies.logic()
    if not logic.IsTerminologyContextLoaded("Sim4Seg findings"):
        logic.LoadTerminologyFromFile(str(TERMS_FILE))
