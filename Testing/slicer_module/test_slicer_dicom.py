"""Exports of volumes that came from DICOM: objects that refer to the images, as they are now."""

import highdicom
import numpy as np
import pydicom
import pytest
from mrml_scene import OBLIQUE, document
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from Sim4SegLib import boxes, exporting, reports, segments, volumes
from Sim4SegLib.dicom_files import INSTANCES_ATTRIBUTE
from Sim4SegLib.planes import Plane

from Sim4SegCore.io import read_volume_case

SLICES, ROWS, COLUMNS = 5, 30, 40
SPACING = (0.7, 0.9, 3.0)


class Series:
    """CT files in the order of their positions, and the volume that Slicer makes of them."""

    def __init__(self, folder, directions=OBLIQUE):
        self.voxels = np.random.default_rng(0).integers(
            -200, 300, (SLICES, ROWS, COLUMNS), dtype=np.int16
        )
        self.directions = directions
        study, series, frame = generate_uid(), generate_uid(), generate_uid()
        self.files = {}
        for number in range(SLICES):
            header = self._header(number, study, series, frame)
            path = folder / f"image{number}.dcm"
            header.save_as(path, enforce_file_format=True)
            self.files[header.SOPInstanceUID] = str(path)

    def _header(self, number, study, series, frame):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        header = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        header.SOPClassUID, header.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        header.StudyInstanceUID, header.SeriesInstanceUID = study, series
        header.FrameOfReferenceUID = frame
        header.PatientName, header.PatientID = "Secret^Name", "42"
        header.Modality, header.InstanceNumber, header.SeriesNumber = "CT", number + 1, 1
        header.Rows, header.Columns = ROWS, COLUMNS
        header.PixelSpacing = [SPACING[1], SPACING[0]]
        header.SliceThickness = SPACING[2]
        across, down, along = self.directions.T
        header.ImageOrientationPatient = [*across.round(8).tolist(), *down.round(8).tolist()]
        place = np.array([10.0, -20.0, 30.0]) + number * SPACING[2] * along
        header.ImagePositionPatient = place.round(6).tolist()
        header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
        header.BitsAllocated = header.BitsStored = 16
        header.HighBit, header.PixelRepresentation = 15, 1
        header.RescaleSlope, header.RescaleIntercept = 1, 0
        header.PixelData = self.voxels[number].tobytes()
        return header

    def volume(self, scene):
        to_ras = np.eye(4)
        to_ras[:3, :3] = np.diag([-1, -1, 1]) @ self.directions * np.array(SPACING)
        to_ras[:3, 3] = (-10.0, 20.0, 30.0)
        node = scene.volume(self.voxels, to_ras)
        node.SetAttribute(INSTANCES_ATTRIBUTE, " ".join(self.files))
        return node

    def file_of(self, uid):
        return self.files.get(uid, "")


def answered(scene, volume_node, image, mask, labels=("skin lesion",), **changes):
    """An answer in the scene; the mask is bool (k, j, i)."""
    answer = document(labels=labels, **changes)
    box = boxes.box_of_volume(mask)
    node = segments.new_segmentation(scene.mrml, volume_node, "answer")
    added = segments.add_findings(node, image.ijk_to_ras, answer, [box] * len(labels))
    report = reports.add_report(scene.mrml, volume_node, answer, image.plane)
    reports.link(report, node, added, (boxes.digest(box),) * len(labels))
    return report


@pytest.fixture
def series(tmp_path):
    folder = tmp_path / "series"
    folder.mkdir()
    return Series(folder)


def test_an_answer_about_a_slice_becomes_a_segmentation_and_a_report_of_that_image(
    scene, series, tmp_path
):
    volume = series.volume(scene)
    view = scene.slice_view("Axial", (volumes.ijk_to_ras_of(volume) @ [20, 15, 3, 1])[:3])
    image = volumes.slice_shown(volume, view)
    assert (image.plane.axis, image.plane.index) == (0, 3)
    mask = np.zeros(series.voxels.shape, bool)
    mask[3, 5:15, 20:33] = True
    report = answered(scene, volume, image, mask)
    done = exporting.export_report(report, tmp_path, None, series.file_of)
    assert done.without_dicom == ""
    segmentation = highdicom.seg.segread(done.folder / "mask.dcm")
    uid = list(series.files)[3]
    (frame,) = segmentation.get_pixels_by_source_instance(source_sop_instance_uids=[uid])
    assert np.array_equal(frame[..., 0] > 0, mask[3])
    assert segmentation.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeValue == (
        "95324001"
    )
    written = pydicom.dcmread(done.folder / "report.dcm")
    assert written.Modality == "SR" and uid in str(written)
    text = (done.folder / "report.md").read_text(encoding="utf-8")
    assert "Secret" not in text and "42" not in text


def test_an_answer_about_a_volume_becomes_a_segmentation_of_its_images(scene, series, tmp_path):
    volume = series.volume(scene)
    mask = np.zeros(series.voxels.shape, bool)
    mask[1:3, 5:15, 20:33] = True
    part = {"axis": "k", "key_slices": [], "slices": [], "slice_range": [1, 2]}
    report = answered(scene, volume, volumes.whole(volume), mask, volume=part)
    done = exporting.export_report(report, tmp_path, None, series.file_of)
    assert done.without_dicom == ""
    assert not (done.folder / "report.dcm").exists()
    segmentation = highdicom.seg.segread(done.folder / "mask.dcm")
    frames = segmentation.get_pixels_by_source_instance(
        source_sop_instance_uids=list(series.files), assert_missing_frames_are_empty=True
    )
    assert np.array_equal(frames[..., 0] > 0, mask)
    assert segmentation.NumberOfFrames == 2
    assert segmentation.SegmentSequence[0].SegmentAlgorithmType == "AUTOMATIC"


def test_a_slice_across_the_series_becomes_a_segmentation_of_all_of_it(scene, series, tmp_path):
    volume = series.volume(scene)
    image = volumes.slice_at(volume, Plane(1, 12))
    mask = np.zeros(series.voxels.shape, bool)
    mask[1:4, 12, 8:20] = True
    done = exporting.export_report(
        answered(scene, volume, image, mask), tmp_path, None, series.file_of
    )
    assert done.without_dicom == ""
    frames = highdicom.seg.segread(done.folder / "mask.dcm").get_pixels_by_source_instance(
        source_sop_instance_uids=list(series.files), assert_missing_frames_are_empty=True
    )
    assert np.array_equal(frames[..., 0] > 0, mask)


def test_what_a_reader_corrected_is_said_to_be_semiautomatic(scene, series, tmp_path):
    volume = series.volume(scene)
    mask = np.zeros(series.voxels.shape, bool)
    mask[1:3, 5:15, 20:33] = True
    image = volumes.slice_at(volume, Plane(1, 8))
    report = answered(scene, volume, image, mask)
    reports.link(
        report,
        report.GetNodeReference(reports.SEGMENTATION_ROLE),
        reports.segments_of(report),
        ("another",),
    )
    done = exporting.export_report(report, tmp_path, None, series.file_of)
    segment = highdicom.seg.segread(done.folder / "mask.dcm").SegmentSequence[0]
    assert segment.SegmentAlgorithmType == "SEMIAUTOMATIC"
    assert "corrected by a reader" in (done.folder / "report.md").read_text(encoding="utf-8")


def test_the_mask_of_a_flipped_volume_lies_on_the_right_pixels(scene, series, tmp_path):
    """Slicer's DICOM reader keeps the files' axes, other tools turn them."""
    volume = series.volume(scene)
    to_ras = volumes.ijk_to_ras_of(volume)
    turned = series.voxels[::-1, :, ::-1].copy()
    to_turned = to_ras.copy()
    to_turned[:3, 3] = (to_ras @ [COLUMNS - 1, 0, SLICES - 1, 1])[:3]
    to_turned[:3, 0] *= -1
    to_turned[:3, 2] *= -1
    other = scene.volume(turned, to_turned)
    other.SetAttribute(INSTANCES_ATTRIBUTE, " ".join(series.files))
    mask = np.zeros(series.voxels.shape, bool)
    mask[3, 5:15, 20:33] = True
    here = mask[::-1, :, ::-1]
    image = volumes.slice_at(other, Plane(0, SLICES - 1 - 3))
    done = exporting.export_report(
        answered(scene, other, image, here), tmp_path, None, series.file_of
    )
    segmentation = highdicom.seg.segread(done.folder / "mask.dcm")
    (frame,) = segmentation.get_pixels_by_source_instance(
        source_sop_instance_uids=[list(series.files)[3]]
    )
    assert np.array_equal(frame[..., 0] > 0, mask[3])


def moved(volume, series):
    to_ras = volumes.ijk_to_ras_of(volume)
    to_ras[:3, 3] += 1.3
    volume.SetIJKToRASMatrix(volumes.matrix_of(to_ras))


def forgotten(volume, series):
    series.files = dict.fromkeys(series.files, "")


def unrelated(volume, series):
    volume.SetAttribute(INSTANCES_ATTRIBUTE, None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (moved, "does not lie on the voxels"),
        (forgotten, "not in the DICOM database"),
        (unrelated, "not loaded from DICOM"),
    ],
)
def test_without_its_files_an_export_says_why_it_has_no_dicom_objects(
    scene, series, tmp_path, change, reason
):
    volume = series.volume(scene)
    mask = np.zeros(series.voxels.shape, bool)
    mask[2, 5:15, 20:33] = True
    report = answered(scene, volume, volumes.slice_at(volume, Plane(0, 2)), mask)
    uids = volume.GetAttribute(INSTANCES_ATTRIBUTE)
    change(volume, series)
    # Masks are taken on the volume's grid, which has moved with it.
    done = exporting.export_report(report, tmp_path, None, series.file_of)
    assert reason in done.without_dicom
    assert uids and not list(done.folder.glob("*.dcm"))
    assert (done.folder / "report.md").is_file()


def test_the_made_up_series_is_one_that_core_reads(series, tmp_path):
    case = read_volume_case(tmp_path / "series")
    assert sorted(case.voxels.shape) == sorted(series.voxels.shape)
