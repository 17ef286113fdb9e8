"""What the user chose, kept in the scene and bound to the panel's widgets by name."""

from typing import Annotated, Union

from slicer import (
    vtkMRMLMarkupsFiducialNode,
    vtkMRMLMarkupsROINode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
    vtkMRMLTextNode,
    vtkMRMLVectorVolumeNode,
)
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper

DEVICES = ["auto", "cpu", "cuda", "cuda:0", "cuda:1", "mps"]
# Slicer fills the combo box with these types; it knows a Union of nodes only with None in it, and
# not every version of it knows `A | B`.
Image = Union[vtkMRMLScalarVolumeNode, vtkMRMLVectorVolumeNode, None]  # noqa: UP007


@parameterNodeWrapper
class Sim4SegParameterNode:
    """
    Attributes:
        inputVolume: the image that is asked about.
        query: the clinical question.
        mode: how much of the volume is looked at, as the service names it.
        regionOfInterest: only what lies in it is shown to the model; None is all.
        positivePoints, negativePoints: parts of the mask that they touch are kept, or left out.
        outputSegmentation: takes the new segments; None is the volume's own, or a new one.
        shownReport: the report in the panel.
        similarityOpacity: of the similarity map over the slices, in percent.
        showVotes: whether the panel shows how sampled answers voted.
        showSurfaces: whether what is found in volumes is shown in 3D views.
        modelSource: embedded, a checkpoint folder, a hub id or a server's name for it.
        device: of the local service.
        samples, masks: how many answers and masks are combined; 0 is as the model says.
        seed: of sampled answers.
        serverUrl: empty is a private process on this machine.
        certificateFile: PEM file for servers whose certificate the system does not know.
        batchFolder, batchQueries, batchOutput: images, CSV file of queries and results of a batch.
        datasetFolder: where accepted results are written as training records.
    """

    inputVolume: Image
    query: str = ""
    mode: str = "slice"
    regionOfInterest: vtkMRMLMarkupsROINode
    positivePoints: vtkMRMLMarkupsFiducialNode
    negativePoints: vtkMRMLMarkupsFiducialNode
    outputSegmentation: vtkMRMLSegmentationNode
    shownReport: vtkMRMLTextNode
    similarityOpacity: Annotated[float, WithinRange(0, 100)] = 0.0
    showVotes: bool = False
    showSurfaces: bool = True
    modelSource: str = "embedded"
    device: Annotated[str, Choice(DEVICES)] = "auto"
    samples: Annotated[int, WithinRange(0, 64)] = 0
    masks: Annotated[int, WithinRange(0, 8)] = 0
    seed: Annotated[int, WithinRange(0, 2147483647)] = 0
    serverUrl: str = ""
    certificateFile: str = ""
    batchFolder: str = ""
    batchQueries: str = ""
    batchOutput: str = ""
    datasetFolder: str = ""
