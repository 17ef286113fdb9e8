"""What the user chose, kept in the scene and bound to the panel's widgets by name."""

from typing import Annotated

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode, vtkMRMLTextNode
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper

DEVICES = ["auto", "cpu", "cuda", "cuda:0", "cuda:1", "mps"]


@parameterNodeWrapper
class Sim4SegParameterNode:
    """
    Attributes:
        inputVolume: the image that is asked about.
        query: the clinical question.
        outputSegmentation: takes the new segments; None is the volume's own, or a new one.
        shownReport: the report in the panel.
        similarityOpacity: of the similarity map over the slices, in percent.
        showVotes: whether the panel shows how sampled answers voted.
        modelSource: embedded, a checkpoint folder, a hub id or a server's name for it.
        device: of the local service.
        serverUrl: empty is a private process on this machine.
        certificateFile: PEM file for servers whose certificate the system does not know.
        datasetFolder: where accepted results are written as training records.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    query: str = ""
    outputSegmentation: vtkMRMLSegmentationNode
    shownReport: vtkMRMLTextNode
    similarityOpacity: Annotated[float, WithinRange(0, 100)] = 0.0
    showVotes: bool = False
    modelSource: str = "embedded"
    device: Annotated[str, Choice(DEVICES)] = "auto"
    serverUrl: str = ""
    certificateFile: str = ""
    datasetFolder: str = ""
