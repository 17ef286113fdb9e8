"""Queries to begin with, and an image to ask them about."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer

from Sim4SegCore.examples import draw_phantom

from .planes import RAS_TO_LPS
from .volumes import matrix_of

QUERIES = (
    "Is there a skin lesion? Segment it and tell me what it is.",
    "Is there a tumor? Segment it and tell me what it is.",
    "Is there a breast mass? Is it benign or malignant?",
    "Segment the retinal vessels. Does the eye look healthy?",
    "Segment the left lung.",
    "Is there a fracture?",
)


def add_sample(scene: Any) -> Any:
    """A drawn skin lesion as a colour volume, lying as Slicer loads pictures.

    Returns:
        vtkMRMLVectorVolumeNode.
    """
    name = scene.GenerateUniqueName("Sim4Seg sample")
    node = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", name)
    slicer.util.updateVolumeFromArray(node, draw_phantom()[0][np.newaxis])
    matrix = np.eye(4)
    matrix[:3, :3] = RAS_TO_LPS
    node.SetIJKToRASMatrix(matrix_of(matrix))
    node.CreateDefaultDisplayNodes()
    return node
