"""One query, from a volume in the scene to segments, report and similarity map.

Everything that touches the scene happens here, on the main thread, and only after the answer was
checked; see `asking` for the other thread.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

from Sim4SegCore.case import Query
from Sim4SegCore.errors import Sim4SegError

from . import overlay, reports, segments, volumes
from .asking import Answered, Asking, Cancelled, Failed, Message, Progressed, Question
from .connection import Connection, ServiceSettings
from .defects import log_defect
from .nodes import remove_nodes
from .outputs import output_for
from .points import Points, voxels_of_points
from .preparing import PreparedAnswer, prepare
from .region import corners_of

SLICE = "slice"
GONE = "the volume was removed or the scene was closed during the query; nothing was added"
UNEXPECTED = "the answer could not be added to the scene; nothing was added, ask again"
TICK_MS = 30
POLL_S = 0.02
"""A query's thread runs while the main thread waits for its news; the window has the rest."""


class Ticker(Protocol):
    """Calls a function on the main thread, again and again; Qt's timer in Slicer."""

    def start(self, callback: Callable[[], None], interval_ms: int) -> None: ...

    def stop(self) -> None: ...


@dataclass(frozen=True)
class QueryResult:
    """What a query added to the scene.

    Attributes:
        segmentationNode: holds the new segments, and older ones.
        textNode: the report.
        similarityNode: the similarity map, None if the service sent none.
        segmentIds: of the new segments; empty if nothing was found.
        document: as in result.json.
    """

    segmentationNode: Any
    textNode: Any
    similarityNode: Any
    segmentIds: tuple[str, ...]
    document: dict[str, Any] = field(repr=False)

    @property
    def diagnosis(self) -> str | None:
        """The diagnosis, None if none is suggested."""
        return self.document["diagnosis"]["label"]

    @property
    def confidence(self) -> float:
        """Of the diagnosis, 0..1."""
        return self.document["diagnosis"]["confidence"]


@dataclass(frozen=True)
class QueryRequest:
    """What is asked.

    Attributes:
        mode: `slice`, or another one of the service's `Health.modes`.
        sliceNode: slice view whose slice is meant; None is the middle one.
        segmentationNode: takes the new segments; None is the volume's own, or a new one.
            It has to be under the volume's transform.
        roiNode: vtkMRMLMarkupsROINode; only what lies in it is shown to the model. None is all.
        positiveNode, negativeNode: vtkMRMLMarkupsFiducialNode; parts of the mask that their points
            touch are kept, or left out.
        samples, masks: of a slice, how many answers and masks are combined; None as the model
            says.
        seed: of sampled answers; None is the model's own.
    """

    volumeNode: Any
    query: str
    mode: str = SLICE
    sliceNode: Any = None
    segmentationNode: Any = None
    roiNode: Any = None
    positiveNode: Any = None
    negativeNode: Any = None
    samples: int | None = None
    masks: int | None = None
    seed: int | None = None


@dataclass
class Listeners:
    """Called on the main thread; one of the last three is called, once, at the end."""

    progressed: Callable[[Progressed], None] = lambda progress: None
    finished: Callable[[QueryResult], None] = lambda result: None
    failed: Callable[[Failed], None] = lambda failure: None
    cancelled: Callable[[], None] = lambda: None


class RunningQuery:
    """A query on its way; `poll` leads it on."""

    def __init__(
        self,
        scene: Any,
        request: QueryRequest,
        image: volumes.SourceImage,
        asking: Asking,
        listeners: Listeners,
    ) -> None:
        self._scene = scene
        self._request = request
        self._volume_id = request.volumeNode.GetID()
        self._image = image
        self._asking = asking
        self._listeners = listeners
        self.is_over = False
        self.result: QueryResult | None = None
        self.failure: Failed | None = None

    def cancel(self) -> None:
        """Give up; `Listeners.cancelled` follows with the next poll."""
        self._asking.cancel()

    def join(self, timeout_s: float) -> bool:
        """Wait for the query's thread; whether it has ended."""
        return self._asking.join(timeout_s)

    def poll(self, wait_s: float = POLL_S) -> None:
        """Pass on what has happened; main thread only.

        Args:
            wait_s: at most, for something to happen.
        """
        for message in self._asking.poll(wait_s):
            self._take(message)

    def _take(self, message: Message) -> None:
        if isinstance(message, Progressed):
            self._listeners.progressed(message)
            return
        self.is_over = True
        if isinstance(message, Cancelled):
            self._listeners.cancelled()
            return
        if isinstance(message, Answered):
            message = self._import(message.answer)
        if isinstance(message, Failed):
            self.failure = message
            self._listeners.failed(message)
        elif self.result is not None:
            self._listeners.finished(self.result)

    def _import(self, answer: PreparedAnswer) -> Message:
        """Into the scene; the message again, or a failure that left the scene as it was."""
        try:
            if self._scene.GetNodeByID(self._volume_id) is not self._request.volumeNode:
                return Failed(GONE)
            self.result = _add_to_scene(self._scene, self._request, self._image, answer)
        except Sim4SegError as error:
            return Failed(str(error))
        except Exception as error:
            # Without an end that listeners hear of, the panel would wait for ever.
            log_defect(error)
            return Failed(UNEXPECTED)
        return Answered(answer)


class Queries:
    """Starts queries, one at a time, and knows the connection to the service."""

    def __init__(
        self,
        scene: Callable[[], Any],
        connection: Connection,
        ticker: Ticker,
        pump: Callable[[], None],
    ) -> None:
        """
        Args:
            scene: gives the application's scene.
            pump: lets the application's window live during `wait`.
        """
        self._scene = scene
        self._connection = connection
        self._ticker = ticker
        self._pump = pump
        self.running: RunningQuery | None = None

    @property
    def is_running(self) -> bool:
        """Whether a query waits for its end; False as soon as a listener hears of it."""
        return self.running is not None and not self.running.is_over

    def start(
        self,
        request: QueryRequest,
        settings: ServiceSettings,
        listeners: Listeners | None = None,
    ) -> RunningQuery:
        """Ask, and come back at once.

        Raises:
            Sim4SegError: if another query runs, or this one cannot be asked.
        """
        if self.is_running:
            raise Sim4SegError("another query is running; wait for its end or cancel it")
        query = Query(request.query).text
        image = _source_image(request)
        # Before anything is computed; it is looked up again when the answer is there.
        output_for(self._scene(), request.volumeNode, request.segmentationNode)
        connection = self._connection
        points = _points(request, image)
        question = Question(
            image.voxels,
            image.geometry,
            image.window,
            query,
            volumes.modality_of(request.volumeNode),
            connection.model_name(settings),
            request.mode,  # type: ignore[arg-type]
            request.samples,
            request.masks,
            request.seed,
        )
        client = connection.client(settings)

        def ready(answer: Any, voxels: NDArray[Any]) -> PreparedAnswer:
            return prepare(answer, dataclasses.replace(image, voxels=voxels), points)

        asking = Asking(lambda: client, question, ready)
        running = RunningQuery(self._scene(), request, image, asking, listeners or Listeners())
        self.running = running
        asking.start()
        self._ticker.start(self._tick, TICK_MS)
        return running

    def wait(self, running: RunningQuery) -> QueryResult:
        """Lead a query to its end while the window stays alive.

        Raises:
            Sim4SegError: if it failed or was cancelled.
        """
        while not running.is_over:
            self._tick()
            self._pump()
        if running.failure is not None:
            raise Sim4SegError(running.failure.sentence)
        if running.result is None:
            raise Sim4SegError("the query was cancelled")
        return running.result

    def close(self) -> None:
        """Cancel what runs and end the local service."""
        if self.running is not None:
            self.running.cancel()
            self._tick()
        self._connection.close()

    def _tick(self) -> None:
        running = self.running
        if running is None:
            return
        try:
            running.poll()
        finally:
            # A listener may have started the next query.
            if running.is_over and self.running is running:
                self.running = None
                self._ticker.stop()


def _source_image(request: QueryRequest) -> volumes.SourceImage:
    region = None if request.roiNode is None else corners_of(request.roiNode)
    if request.mode == SLICE:
        return volumes.slice_shown(request.volumeNode, request.sliceNode, region)
    image = volumes.whole(request.volumeNode, region)
    if min(image.voxels.shape[:3]) < 2:
        raise Sim4SegError("this is a picture and no volume; look at the current slice instead")
    return image


def _points(request: QueryRequest, image: volumes.SourceImage) -> Points:
    if request.positiveNode is None and request.negativeNode is None:
        return Points()
    to_world = volumes.ijk_to_world_of(request.volumeNode)
    positive, negative = (
        [image.place_of(voxel) for voxel in voxels_of_points(node, to_world)]
        for node in (request.positiveNode, request.negativeNode)
    )
    return Points(
        tuple(place for place in positive if place is not None),
        tuple(place for place in negative if place is not None),
        [*positive, *negative].count(None),
    )


def _add_to_scene(
    scene: Any, request: QueryRequest, image: volumes.SourceImage, answer: PreparedAnswer
) -> QueryResult:
    """All or nothing; one state for undo."""
    volume, document = request.volumeNode, answer.document
    segmentation = output_for(scene, volume, request.segmentationNode)
    scene.SaveStateForUndo()
    added: list[Any] = []
    if segmentation is None:
        segmentation = segments.new_segmentation(scene, volume, f"{volume.GetName()} Sim4Seg")
        added.append(segmentation)
    identities: tuple[str, ...] = ()
    # Of a slice they are made in no time; whoever shows those of volumes makes them anew later.
    had_surfaces = _is_thick(answer) and segments.remove_surfaces(segmentation)
    try:
        identities = segments.add_findings(segmentation, image.ijk_to_ras, document, answer.boxes)
        report = reports.add_report(scene, volume, document, image.plane)
        added.append(report)
        reports.link(report, segmentation, identities, answer.digests)
        similarity = None
        if answer.similarity is not None:
            similarity = overlay.add_similarity(
                scene, volume, image, answer.similarity, answer.first_slice
            )
            added.append(similarity)
            report.SetNodeReferenceID(reports.SIMILARITY_ROLE, similarity.GetID())
    except BaseException:
        segments.remove_segments(segmentation, identities)
        if had_surfaces:
            segmentation.CreateClosedSurfaceRepresentation()
        remove_nodes(scene, added)
        raise
    return QueryResult(segmentation, report, similarity, identities, document)


def _is_thick(answer: PreparedAnswer) -> bool:
    return any(box is not None and min(box.voxels.shape) > 1 for box in answer.boxes)
