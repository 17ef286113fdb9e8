"""One query from volume to nodes: with a service in a process of its own, and with broken ones."""

import dataclasses
import os
import signal
import threading
import time

import numpy as np
import psutil
import pytest
from mrml_scene import affine, document, slicer
from services import FakeLocalService, ManualTicker
from Sim4SegLib import queries, reports, segments
from Sim4SegLib.connection import Connection, ServiceSettings
from Sim4SegLib.queries import Listeners, Queries, QueryRequest

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.service import RemoteAnswer

LIMIT_S = 60.0
LOCAL = ServiceSettings()
LPS = affine((0.5, 0.5, 3.0), np.diag([-1.0, -1.0, 1.0]))


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    local = FakeLocalService(tmp_path_factory.mktemp("log") / "service.log")
    yield local
    local.stop()


@pytest.fixture
def slow_service(tmp_path):
    local = FakeLocalService(tmp_path / "slow.log")
    yield local
    local.stop()


@pytest.fixture
def asked(scene, service):
    made = queries_to(scene, service)
    yield made
    if made.running is not None:
        made.running.cancel()
        made.running.poll()


def scan(scene, name="scan"):
    voxels = np.random.default_rng(3).integers(-500, 500, (5, 24, 32), dtype=np.int16)
    return scene.volume(voxels, LPS, name)


class RemoteStandIn:
    """A client whose answers the test makes up."""

    def __init__(self, answer):
        self.answer = answer
        self.asked_on = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def prepare_volume(self, voxels, geometry, modality=None, window=None):
        return voxels

    def health(self):
        return dataclasses.make_dataclass("Health", ["modes"])(["slice", "slices"])

    def send(self, image, progress):
        return None

    def ask(self, image, query, options, progress):
        self.asked_on = threading.current_thread()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class ConnectionStandIn(Connection):
    def __init__(self, answer):
        super().__init__()
        self.stand_in = RemoteStandIn(answer)

    def client(self, settings):
        return self.stand_in


def queries_to(scene, service):
    return Queries(lambda: scene.mrml, Connection(service), ManualTicker(), lambda: None)


def queries_with(scene, answer):
    connection = ConnectionStandIn(answer)
    return Queries(lambda: scene.mrml, connection, ManualTicker(), lambda: None), connection


def test_a_query_adds_segments_report_and_similarity_map(scene, asked):
    volume = scan(scene)
    running = asked.start(QueryRequest(volume, "What is bright?"), LOCAL)
    result = asked.wait(running)
    shown = volume.GetImageData() and slicer.util.arrayFromVolume(volume)[2]
    expected = np.zeros((5, 24, 32), bool)
    expected[2] = shown > shown.mean()
    (segment,) = result.segmentIds
    assert np.array_equal(segments.segment_mask(result.segmentationNode, segment, volume), expected)
    assert result.diagnosis.startswith("What is bright?")
    assert result.confidence == 0.75
    assert "What is bright?" in result.textNode.GetText()
    assert slicer.util.arrayFromVolume(result.similarityNode).shape == (1, 24, 32)
    assert asked.running is None


def test_follow_up_queries_fill_the_same_segmentation_and_leak_no_node(scene, asked):
    volume = scan(scene)
    asked.wait(asked.start(QueryRequest(volume, "First?"), LOCAL))
    after_one = scene.classes()
    for number in range(50):
        asked.wait(asked.start(QueryRequest(volume, f"Again {number}?"), LOCAL))
    after_all = scene.classes()
    grown = {name: count - after_one.get(name, 0) for name, count in after_all.items()}
    assert {name: count for name, count in grown.items() if count} == {
        "vtkMRMLTextNode": 50,
        "vtkMRMLScalarVolumeNode": 50,
        "vtkMRMLScalarVolumeDisplayNode": 50,
    }
    node = scene.mrml.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    assert node.GetSegmentation().GetNumberOfSegments() == 51
    assert len(reports.reports_about(scene.mrml, volume)) == 51


def test_each_volume_has_a_segmentation_of_its_own(scene, asked):
    one, two = scan(scene, "one"), scan(scene, "two")
    first = asked.wait(asked.start(QueryRequest(one, "?"), LOCAL))
    second = asked.wait(asked.start(QueryRequest(two, "?"), LOCAL))
    assert first.segmentationNode is not second.segmentationNode


def test_progress_comes_on_the_main_thread(scene, slow_service):
    asked = queries_to(scene, slow_service)
    threads, stages = set(), []

    def progressed(progress):
        threads.add(threading.current_thread())
        stages.append(progress.stage)

    slow_service.seconds = 1.0
    asked.wait(asked.start(QueryRequest(scan(scene), "?"), LOCAL, Listeners(progressed)))
    assert threads == {threading.main_thread()}
    assert stages[0] == "start" and "answer" in stages


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"query": "  "}, "query is empty"),
        ({"volumeNode": None}, "no volume"),
        ({"query": "x" * 1001}, "1001 characters"),
        ({"mode": "movie"}, "does not know the mode"),
    ],
)
def test_what_cannot_be_asked_is_said_and_leaves_the_scene_alone(scene, asked, change, reason):
    request = dataclasses.replace(QueryRequest(scan(scene), "?"), **change)
    before = scene.classes()
    with pytest.raises(Sim4SegError, match=reason):
        asked.wait(asked.start(request, LOCAL))
    assert scene.classes() == before
    assert asked.running is None


def test_one_query_at_a_time(scene, asked):
    asked.start(QueryRequest(scan(scene), "?"), LOCAL)
    with pytest.raises(Sim4SegError, match="another query is running"):
        asked.start(QueryRequest(scan(scene), "?"), LOCAL)


def test_cancelling_is_heard_at_once_and_frees_the_service(scene, slow_service):
    asked = queries_to(scene, slow_service)
    slow_service.seconds = 100.0
    volume = scan(scene)
    heard, stages = [], []
    listeners = Listeners(stages.append, cancelled=lambda: heard.append(True))
    before = scene.classes()
    running = asked.start(QueryRequest(volume, "Long?"), LOCAL, listeners)
    wait_until(lambda: running.poll() or any(step.stage == "answer" for step in stages))
    assert not running.is_over
    running.cancel()
    running.poll()
    assert heard == [True] and running.is_over
    assert running.join(LIMIT_S)
    with slow_service.client() as client:
        wait_until(lambda: client.health().jobs == 0)
    assert scene.classes() == before


def test_a_service_killed_in_the_middle_is_restarted_and_the_query_answered(scene, slow_service):
    asked = queries_to(scene, slow_service)
    slow_service.seconds = 100.0
    volume, stages = scan(scene), []
    running = asked.start(QueryRequest(volume, "After all?"), LOCAL, Listeners(stages.append))
    wait_until(lambda: running.poll() or any(step.stage == "answer" for step in stages))
    assert not running.is_over
    first = slow_service.pid
    slow_service.seconds = 0.02
    os.kill(first, signal.SIGKILL)
    result = asked.wait(running)
    assert result.document["query"] == "After all?"
    assert slow_service.pid not in (None, first)


def test_the_local_service_ends_with_the_connection(scene, slow_service):
    connection = Connection(slow_service)
    asked = Queries(lambda: scene.mrml, connection, ManualTicker(), lambda: None)
    asked.wait(asked.start(QueryRequest(scan(scene), "?"), LOCAL))
    pid = connection.pid
    assert psutil.pid_exists(pid)
    asked.close()
    assert connection.pid is None
    assert connection.wait_until_closed(LIMIT_S)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def lingering(slow_service, monkeypatch):
    """A service that ends once the event is set."""
    may_end, stop = threading.Event(), slow_service.stop

    def linger():
        assert may_end.wait(LIMIT_S)
        stop()

    monkeypatch.setattr(slow_service, "stop", linger)
    yield slow_service, may_end
    may_end.set()


def test_closing_does_not_wait_for_a_service_that_takes_its_time(scene, lingering):
    service, may_end = lingering
    connection = Connection(service)
    asked = Queries(lambda: scene.mrml, connection, ManualTicker(), lambda: None)
    asked.wait(asked.start(QueryRequest(scan(scene), "?"), LOCAL))
    pid = connection.pid
    asked.close()
    assert connection.pid is None and psutil.pid_exists(pid)
    assert not connection.wait_until_closed(0.01)
    may_end.set()
    assert connection.wait_until_closed(LIMIT_S)
    assert service.pid is None


def test_the_next_service_starts_when_the_one_before_has_ended(scene, lingering):
    service, may_end = lingering
    connection = Connection(service)
    with connection.client(LOCAL) as client:
        client.health()
    before = service.pid
    connection.close()
    asked = Queries(lambda: scene.mrml, connection, ManualTicker(), lambda: None)
    running = asked.start(QueryRequest(scan(scene), "?"), LOCAL)
    running.poll(0.5)
    assert service.pid == before and not running.is_over
    may_end.set()
    asked.wait(running)
    assert service.pid not in (None, before)


def test_a_service_that_was_let_go_is_not_started_again_by_what_still_asks_it(slow_service):
    connection = Connection(slow_service)
    with connection.client(LOCAL) as client:
        assert client.health().jobs == 0
        connection.close()
        assert connection.wait_until_closed(LIMIT_S)
        with pytest.raises(Sim4SegError, match="was stopped; ask again"):
            client.health()
        assert slow_service.pid is None
    with connection.client(LOCAL) as client:
        assert client.health().jobs == 0


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://sim4seg.hospital.example:8000", "others could read"),
        ("http://10.1.2.3", "others could read"),
        ("http://localhost.example", "others could read"),
        ("http://[::1", "others could read"),
        ("ftp://sim4seg.hospital.example", "begin with https"),
    ],
)
def test_images_and_tokens_do_not_travel_in_the_open(url, reason):
    with pytest.raises(Sim4SegError, match=reason):
        ServiceSettings(url, "token")


@pytest.mark.parametrize(
    "url", ["https://10.1.2.3", "http://localhost:8000", "http://127.0.0.1", "http://[::1]:80"]
)
def test_a_server_on_this_computer_needs_no_certificate(url):
    assert not ServiceSettings(url).is_local


def test_a_scene_closed_during_the_query_stays_empty(scene, asked):
    running = asked.start(QueryRequest(scan(scene), "?"), LOCAL)
    scene.mrml.Clear(1)
    before = scene.classes()
    with pytest.raises(Sim4SegError, match="scene was closed"):
        asked.wait(running)
    assert scene.classes() == before


MASK = np.ones((1, 24, 32), bool)
BAD = {
    "no masks": RemoteAnswer(document(), (), None, 0),
    "no diagnosis": RemoteAnswer({"query": "?"}, (), None, 0),
    "no label": RemoteAnswer(document(findings=[{"present": True}]), (MASK,), None, 0),
    "half a model": RemoteAnswer(document(model={"name": "embedded"}), (MASK,), None, 0),
    "a diagnosis in words": RemoteAnswer(document(diagnosis="benign"), (MASK,), None, 0),
    "another size": RemoteAnswer(document(), (np.ones((1, 9, 9), bool),), None, 0),
    "another slice": RemoteAnswer(document(), (np.ones((1, 24, 32), bool),), None, 4),
    "a flat mask": RemoteAnswer(document(), (np.ones((24, 32), bool),), None, 0),
    "an error": Sim4SegError("the server said no; ask the administrator"),
    "a defect": ZeroDivisionError("division by zero"),
}


@pytest.mark.parametrize("answer", BAD.values(), ids=list(BAD))
def test_an_answer_that_does_not_fit_adds_nothing(scene, answer):
    asked, _ = queries_with(scene, answer)
    volume = scan(scene)
    before = scene.classes()
    with pytest.raises(Sim4SegError, match=r"fit the image|said no|unexpectedly"):
        asked.wait(asked.start(QueryRequest(volume, "?"), LOCAL))
    assert scene.classes() == before


def test_a_failure_while_importing_takes_back_what_was_added(scene, monkeypatch):
    answer = RemoteAnswer(document(), (np.ones((1, 24, 32), bool),), None, 0)
    asked, _ = queries_with(scene, answer)
    volume = scan(scene)
    asked.wait(asked.start(QueryRequest(volume, "?"), LOCAL))
    node = scene.mrml.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    before = scene.classes()

    def refuse(*_):
        raise Sim4SegError("the scene is full; remove something")

    monkeypatch.setattr(queries.reports, "add_report", refuse)
    with pytest.raises(Sim4SegError, match="full"):
        asked.wait(asked.start(QueryRequest(volume, "?"), LOCAL))
    assert scene.classes() == before
    assert node.GetSegmentation().GetNumberOfSegments() == 1


def test_a_defect_while_importing_ends_the_query_and_its_values_stay_out_of_the_log(
    scene, monkeypatch, caplog
):
    asked, _ = queries_with(scene, RemoteAnswer(document(), (MASK,), None, 0))
    volume, heard = scan(scene), []
    before = scene.classes()

    def break_down(*_):
        raise KeyError("Jane Doe")

    monkeypatch.setattr(queries.reports, "add_report", break_down)
    running = asked.start(QueryRequest(volume, "?"), LOCAL, Listeners(failed=heard.append))
    with pytest.raises(Sim4SegError, match="could not be added to the scene"):
        asked.wait(running)
    assert [failure.sentence for failure in heard] == [running.failure.sentence]
    assert not asked.is_running
    assert scene.classes() == before
    assert "KeyError" in caplog.text and "break_down" in caplog.text
    assert "Jane Doe" not in caplog.text + running.failure.sentence


def test_a_volume_that_was_moved_since_gets_a_segmentation_that_moves_with_it(scene, asked):
    volume = scan(scene)
    first = asked.wait(asked.start(QueryRequest(volume, "?"), LOCAL))
    moved = scene.transform(affine((1, 1, 1), None, (100, 0, 0)))
    volume.SetAndObserveTransformNodeID(moved.GetID())
    second = asked.wait(asked.start(QueryRequest(volume, "?"), LOCAL))
    third = asked.wait(asked.start(QueryRequest(volume, "?"), LOCAL))
    assert first.segmentationNode is not second.segmentationNode is third.segmentationNode
    by_segments, by_volume = [0.0] * 6, [0.0] * 6
    second.segmentationNode.GetRASBounds(by_segments)
    volume.GetRASBounds(by_volume)
    assert by_volume[0] <= by_segments[0] and by_segments[1] <= by_volume[1]


def test_a_chosen_segmentation_that_does_not_move_with_the_volume_is_refused(scene):
    asked, connection = queries_with(scene, RemoteAnswer(document(), (MASK,), None, 0))
    volume = scan(scene)
    chosen = segments.new_segmentation(scene.mrml, volume, "mine")
    volume.SetAndObserveTransformNodeID(scene.transform(np.eye(4)).GetID())
    request = QueryRequest(volume, "?", segmentationNode=chosen)
    with pytest.raises(Sim4SegError, match="not under the transform"):
        asked.start(request, LOCAL)
    assert connection.stand_in.asked_on is None
    chosen.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    assert asked.wait(asked.start(request, LOCAL)).segmentationNode is chosen


def test_a_chosen_segmentation_that_goes_during_the_query_is_replaced(scene):
    asked, _ = queries_with(scene, RemoteAnswer(document(), (MASK,), None, 0))
    volume = scan(scene)
    chosen = segments.new_segmentation(scene.mrml, volume, "mine")
    running = asked.start(QueryRequest(volume, "?", segmentationNode=chosen), LOCAL)
    scene.mrml.RemoveNode(chosen)
    result = asked.wait(running)
    assert result.segmentationNode.GetScene() is scene.mrml
    assert result.segmentationNode.GetSegmentation().GetNumberOfSegments() == 1


def test_a_whole_volume_is_imported_slice_by_slice_where_the_service_can(scene):
    masks = np.random.default_rng(0).random((3, 24, 32)) > 0.5
    asked, connection = queries_with(scene, RemoteAnswer(document(), (masks,), None, 1))
    volume = scan(scene)
    result = asked.wait(asked.start(QueryRequest(volume, "?", mode="slices"), LOCAL))
    expected = np.zeros((5, 24, 32), bool)
    expected[1:4] = masks
    (segment,) = result.segmentIds
    assert np.array_equal(segments.segment_mask(result.segmentationNode, segment, volume), expected)
    assert connection.stand_in.asked_on is not threading.main_thread()


def surfaces(node):
    """Points of each segment's surface, if any has been made."""
    name = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    segmentation = node.GetSegmentation()
    made = [
        segmentation.GetNthSegment(number).GetRepresentation(name)
        for number in range(segmentation.GetNumberOfSegments())
    ]
    return [each.GetNumberOfPoints() for each in made if each is not None]


def test_surfaces_of_volumes_are_made_when_shown_and_not_while_an_answer_is_added(scene):
    masks = np.zeros((5, 24, 32), bool)
    masks[1:4, 5:15, 5:15] = True
    asked, connection = queries_with(scene, RemoteAnswer(document(), (masks,), None, 0))
    volume = scan(scene)
    node = asked.wait(asked.start(QueryRequest(volume, "?", "slices"), LOCAL)).segmentationNode
    segments.show_surfaces(node, True)
    assert len(surfaces(node)) == 1
    asked.wait(asked.start(QueryRequest(volume, "?", "slices"), LOCAL))
    assert surfaces(node) == []
    segments.show_surfaces(node, True)
    assert len(surfaces(node)) == 2 and min(surfaces(node)) > 100
    connection.stand_in.answer = RemoteAnswer(document(), (MASK,), None, 0)
    asked.wait(asked.start(QueryRequest(volume, "?"), LOCAL))
    assert len(surfaces(node)) == 3, "a slice does not hide what is shown of volumes"


def test_surfaces_are_there_again_where_an_answer_could_not_be_added(scene, monkeypatch):
    answer = RemoteAnswer(document(), (np.ones((5, 24, 32), bool),), None, 0)
    asked, _ = queries_with(scene, answer)
    request = QueryRequest(scan(scene), "?", "slices")
    node = asked.wait(asked.start(request, LOCAL)).segmentationNode
    segments.show_surfaces(node, True)
    monkeypatch.setattr(queries.reports, "add_report", lambda *_: 1 / 0)
    with pytest.raises(Sim4SegError, match="could not be added"):
        asked.wait(asked.start(request, LOCAL))
    assert len(surfaces(node)) == 1


def test_undo_takes_back_a_query_as_one_step(scene):
    answer = RemoteAnswer(document(), (np.ones((1, 24, 32), bool),), np.ones((1, 24, 32)), 0)
    asked, _ = queries_with(scene, answer)
    volume = scan(scene)
    before = scene.classes()
    scene.mrml.SetUndoOn()
    asked.wait(asked.start(QueryRequest(volume, "First?"), LOCAL))
    after_one = scene.classes()
    asked.wait(asked.start(QueryRequest(volume, "Second?"), LOCAL))
    assert segment_count(scene) == 2
    scene.mrml.Undo()
    assert scene.classes() == after_one and segment_count(scene) == 1
    assert "Second?" not in scene.mrml.GetFirstNodeByClass("vtkMRMLTextNode").GetText()
    scene.mrml.Undo()
    assert scene.classes() == before
    scene.mrml.Redo()
    assert scene.classes() == after_one and segment_count(scene) == 1


def segment_count(scene):
    node = scene.mrml.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    return node.GetSegmentation().GetNumberOfSegments()


def test_what_a_query_adds_lies_beside_the_volume_in_the_tree(scene, asked):
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene.mrml)
    study = tree.CreateStudyItem(tree.GetSceneItemID(), "examination")
    volume = scan(scene)
    tree.CreateItem(study, volume)
    result = asked.wait(asked.start(QueryRequest(volume, "?"), LOCAL))
    for node in (result.segmentationNode, result.textNode, result.similarityNode):
        item = tree.GetItemByDataNode(node)
        assert item and tree.GetItemParent(item) == study, node.GetName()


def test_the_modality_of_a_dicom_volume_is_told_to_the_service(scene):
    told = []
    answer = RemoteAnswer(document(), (np.ones((1, 24, 32), bool),), None, 0)
    asked, connection = queries_with(scene, answer)
    connection.stand_in.prepare_volume = lambda voxels, geometry, modality, window: (
        told.append(modality) or voxels
    )
    volume = scan(scene)
    asked.wait(asked.start(QueryRequest(volume, "?"), LOCAL))
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene.mrml)
    item = tree.CreateItem(tree.GetSceneItemID(), volume)
    tree.SetItemAttribute(item, "DICOM.Modality", "CT")
    asked.wait(asked.start(QueryRequest(volume, "?"), LOCAL))
    assert told == [None, "CT"]


@pytest.mark.parametrize("mode", ["slice", "slices"])
def test_voxels_that_are_no_numbers_are_refused_before_anything_is_sent(scene, asked, mode):
    voxels = np.zeros((5, 24, 32), np.float32)
    voxels[2, 2, 1] = np.nan
    volume = scene.volume(voxels, LPS)
    with pytest.raises(Sim4SegError, match="NaN"):
        asked.wait(asked.start(QueryRequest(volume, "?", mode), LOCAL))


def test_what_is_asked_is_the_volume_as_it_was_when_apply_was_pressed(scene, slow_service):
    asked = queries_to(scene, slow_service)
    volume = scan(scene)
    expected = float(slicer.util.arrayFromVolume(volume).sum(dtype=np.float64))
    running = asked.start(QueryRequest(volume, "?", mode="slices"), LOCAL)
    stages = []
    running._listeners.progressed = lambda step: stages.append(step.stage)
    wait_until(lambda: running.poll() or "mask" in stages or running.is_over)
    slicer.util.arrayFromVolume(volume)[:] = 0
    result = asked.wait(running)
    assert result.diagnosis == f"? {expected:.0f}"


def test_a_volume_is_asked_slice_by_slice_and_nothing_is_made_up_about_where(scene, asked):
    volume = scan(scene)
    result = asked.wait(asked.start(QueryRequest(volume, "What is bright?", mode="slices"), LOCAL))
    voxels = slicer.util.arrayFromVolume(volume)
    (segment,) = result.segmentIds
    found = segments.segment_mask(result.segmentationNode, segment, volume)
    assert np.array_equal(found, voxels > voxels.mean())
    assert result.similarityNode is None
    assert "k = 0: " in result.textNode.GetText()
    assert "volume: " in result.textNode.GetText() and "ml" in result.textNode.GetText()


def test_a_picture_is_no_volume(scene, asked):
    picture = scene.volume(np.zeros((1, 24, 32), np.uint8), LPS)
    with pytest.raises(Sim4SegError, match="picture"):
        asked.start(QueryRequest(picture, "?", mode="slices"), LOCAL)


def test_samples_masks_and_seed_reach_the_service(scene, asked):
    request = QueryRequest(scan(scene), "?", samples=3, masks=2, seed=11)
    result = asked.wait(asked.start(request, LOCAL))
    answers = result.document["samples"]["answers"]
    assert [answer["reasoning"][:7] for answer in answers] == ["seed 11"] * 3
    assert len(result.document["samples"]["masks"]) == 2
    assert "Votes of 3 answers" in result.textNode.GetText()


def test_removing_an_answer_leaves_the_others(scene, asked):
    volume = scan(scene)
    first = asked.wait(asked.start(QueryRequest(volume, "First?"), LOCAL))
    after_one = scene.classes()
    second = asked.wait(asked.start(QueryRequest(volume, "Second?"), LOCAL))
    reports.remove_answer(scene.mrml, second.textNode)
    assert scene.classes() == after_one
    segmentation = first.segmentationNode.GetSegmentation()
    assert segmentation.GetNumberOfSegments() == 1
    assert segmentation.GetSegment(first.segmentIds[0]) is not None


def test_removing_the_last_answer_leaves_no_empty_segmentation(scene, asked):
    volume = scan(scene)
    before = scene.classes()
    first = asked.wait(asked.start(QueryRequest(volume, "First?"), LOCAL))
    second = asked.wait(asked.start(QueryRequest(volume, "Second?"), LOCAL))
    reports.remove_answer(scene.mrml, first.textNode)
    reports.remove_answer(scene.mrml, second.textNode)
    assert scene.classes() == before


def test_a_segmentation_of_the_user_stays_when_an_answer_in_it_goes(scene, asked):
    volume = scan(scene)
    mine = scene.mrml.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    result = asked.wait(asked.start(QueryRequest(volume, "?", segmentationNode=mine), LOCAL))
    reports.remove_answer(scene.mrml, result.textNode)
    assert mine.GetScene() is scene.mrml
    made = asked.wait(asked.start(QueryRequest(volume, "?"), LOCAL)).segmentationNode
    made.GetSegmentation().AddEmptySegment("mine")
    (report,) = reports.reports_about(scene.mrml, volume)
    reports.remove_answer(scene.mrml, report)
    assert made.GetSegmentation().GetNumberOfSegments() == 1


def wait_until(condition):
    until = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < until, "this did not happen in a minute"
        time.sleep(0.02)
