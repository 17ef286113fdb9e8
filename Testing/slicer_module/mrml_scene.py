"""A real MRML scene without Slicer's application, and volumes to put into it."""

import types

import numpy as np
import pytest

slicer = pytest.importorskip(
    "slicer",
    reason="slicer-core is not installed (Linux, Python 3.10 to 3.13)",
    exc_type=ImportError,
)
vtk = pytest.importorskip("vtk", reason="VTK is not installed", exc_type=ImportError)

OBLIQUE = np.array([[0.8, 0.59, 0.08], [-0.6, 0.78, 0.17], [0.04, -0.19, 0.98]])
OBLIQUE = np.linalg.qr(OBLIQUE)[0]
SCREEN = {
    "Axial": ((-1, 0, 0), (0, 1, 0)),
    "Sagittal": ((0, -1, 0), (0, 0, 1)),
    "Coronal": ((-1, 0, 0), (0, 0, 1)),
}
"""Right and up on the screen, in RAS, as Slicer shows a patient."""


class Scene:
    """A scene with the logics that take part in its nodes' life."""

    def __init__(self):
        self.mrml = slicer.vtkMRMLScene()
        self.application = slicer.vtkSlicerApplicationLogic()
        self.application.SetMRMLScene(self.mrml)
        self.application.GetColorLogic().SetMRMLScene(self.mrml)
        self.application.GetColorLogic().AddDefaultColorNodes()
        self.segmentations = slicer.vtkSlicerSegmentationsModuleLogic()
        self.tree = slicer.vtkSlicerSubjectHierarchyModuleLogic()
        self.terminologies = slicer.vtkSlicerTerminologiesModuleLogic()
        for logic in (self.segmentations, self.tree, self.terminologies):
            logic.SetMRMLApplicationLogic(self.application)
            logic.SetMRMLScene(self.mrml)
            self.application.SetModuleLogic(type(logic).__name__, logic)

    def volume(self, voxels, ijk_to_ras=None, name="scan"):
        """A volume node with voxels (k, j, i) or (k, j, i, 3)."""
        is_rgb = voxels.ndim == 4
        kind = "vtkMRMLVectorVolumeNode" if is_rgb else "vtkMRMLScalarVolumeNode"
        node = self.mrml.AddNewNodeByClass(kind, name)
        slicer.util.updateVolumeFromArray(node, voxels)
        node.CreateDefaultDisplayNodes()
        matrix = np.eye(4) if ijk_to_ras is None else ijk_to_ras
        node.SetIJKToRASMatrix(vtk_matrix(matrix))
        return node

    def transform(self, matrix):
        """A linear transform node."""
        node = self.mrml.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
        node.SetMatrixTransformToParent(vtk_matrix(matrix))
        return node

    def slice_view(self, orientation="Axial", centre=(0.0, 0.0, 0.0), name="Red"):
        """A slice view node with its composite node."""
        view = slicer.vtkMRMLSliceNode()
        view.SetName(name)
        view.SetLayoutName(name)
        view = self.mrml.AddNode(view)
        composite = slicer.vtkMRMLSliceCompositeNode()
        composite.SetLayoutName(name)
        self.mrml.AddNode(composite)
        matrix = np.eye(4)
        matrix[:3, 0], matrix[:3, 1] = SCREEN[orientation]
        matrix[:3, 2] = np.cross(*SCREEN[orientation])
        matrix[:3, 3] = centre
        view.GetSliceToRAS().DeepCopy(vtk_matrix(matrix))
        return view

    def allow_reading_bundles(self, cache):
        """What Slicer's application does at start-up for .mrb files."""
        self.remote = slicer.vtkMRMLRemoteIOLogic()
        self.remote.SetMRMLScene(self.mrml)
        self.remote.SetMRMLApplicationLogic(self.application)
        self.remote.GetCacheManager().SetRemoteCacheDirectory(str(cache))
        self.remote.AddDataIOToScene()

    def classes(self):
        """Class names of all nodes, with how many there are."""
        names = [
            self.mrml.GetNthNode(number).GetClassName()
            for number in range(self.mrml.GetNumberOfNodes())
        ]
        return {name: names.count(name) for name in set(names)}


def vtk_matrix(array):
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(array, float).reshape(-1).tolist())
    return matrix


def affine(spacing=(1.0, 1.0, 1.0), directions=None, origin=(0.0, 0.0, 0.0)):
    """(4, 4) IJK to RAS."""
    matrix = np.eye(4)
    rotation = np.eye(3) if directions is None else directions
    matrix[:3, :3] = rotation * np.asarray(spacing)
    matrix[:3, 3] = origin
    return matrix


def document(query="Is there a mass?", labels=("breast mass",), **changes):
    """An answer as in result.json."""
    values = {
        "schema_version": "2.2",
        "query": query,
        "diagnosis": {
            "label": "benign",
            "confidence": 0.81,
            "uncertain": False,
            "alternatives": [{"label": "malignant", "confidence": 0.19}],
        },
        "reasoning": "The mass lies in the upper left and has a smooth border.",
        "findings": [
            {
                "label": label,
                "present": True,
                "confidence": 0.9,
                "mask_confidence": None,
                "mask": "mask.png",
                "measurements": {"area_px": 12.0, "area_mm2": 24.0, "image_fraction": 0.031},
            }
            for label in labels
        ],
        "claims": [
            {
                "statement": "in the upper left",
                "kind": "place",
                "verdict": "contradicted",
                "measured": "lower right",
            },
            {"statement": "smooth", "kind": "border", "verdict": "supported", "measured": ""},
        ],
        "samples": {"answers": [], "masks": []},
        "warnings": [],
        "model": {"name": "embedded", "sha256": "0123456789abcdef", "revision": "1"},
        "timing": {"encode": 0.2, "answer": 0.1},
        "input": {"file": None, "size": [32, 24], "spacing_mm": None, "modality": None},
    }
    return {**values, **changes}


def modules_of(scene):
    """`slicer.modules` with the logics that slicer.util asks for."""
    return types.SimpleNamespace(
        segmentations=types.SimpleNamespace(logic=lambda: scene.segmentations),
    )
