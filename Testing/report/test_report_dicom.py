"""mask.dcm and report.dcm: open again, lie where the image lies, refer to it, carry codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
from highdicom import sr
from pydicom import Dataset, FileMetaDataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import (
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)
from report_made_up import MadeUp, box

from Sim4SegCore.case import Diagnosis, Result
from Sim4SegCore.io import read_case
from Sim4SegCore.output import save_result
from Sim4SegCore.report import dicom_measurements

ROOT = Path(__file__).resolve().parents[2]
PATIENT = "Müller-Łódź^Anna"
PATIENT_ID = "SECRET-4711"


def about(path: Path, frame: int | None = None, **parts: Any) -> Result:
    """Two findings of one name, one of another, and one that was not found."""
    case = read_case(path, frame)
    height, width = case.size
    first = box(case.size, 1, 1, height // 3, width // 2)
    second = box(case.size, height // 2, 0, height // 4, width // 3)
    masks = [("tumor", first), ("tumor", second), ("left lung", first | second),
             ("肿瘤 żółć", np.zeros(case.size, bool))]  # fmt: skip
    return MadeUp(masks=parts.pop("masks", masks), case=case, **parts).result()


def saved(result: Result, folder: Path) -> tuple[Any, Any]:
    """The two objects as highdicom reads them."""
    save_result(result, folder)
    return highdicom.seg.segread(folder / "mask.dcm"), sr.srread(folder / "report.dcm")


def write(dataset: Dataset, path: Path, pixels: np.ndarray) -> Path:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation, dataset.SamplesPerPixel = 15, 0, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = pixels.astype("<u2").tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path


def header(sop_class: str, **attributes: Any) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.SpecificCharacterSet = "ISO_IR 101"
    dataset.PatientName, dataset.PatientID = PATIENT, PATIENT_ID
    dataset.Modality = "MR"
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def write_oblique_slice(path: Path) -> Path:
    dataset = header(
        MRImageStorage,
        FrameOfReferenceUID=generate_uid(),
        PixelSpacing=[0.5, 0.25],
        SliceThickness=4,
        ImagePositionPatient=[-20, 30, 40],
        ImageOrientationPatient=[0.8, 0.6, 0, 0, 0, -1],
    )
    return write(dataset, path, np.arange(40 * 60).reshape(40, 60))


def write_frames(path: Path, **attributes: Any) -> Path:
    """Three slices 10 mm apart in one enhanced object, each with its own orientation."""
    dataset = header(EnhancedMRImageStorage, FrameOfReferenceUID=generate_uid(), **attributes)
    measures = Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.5, 0.25], 4
    shared = Dataset()
    shared.PixelMeasuresSequence = [measures]
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = []
    for number in range(3):
        position, orientation, groups = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [1, 2, 10 * number]
        orientation.ImageOrientationPatient = [1, 0, 0, 0, 0.8, 0.6]
        groups.PlanePositionSequence = [position]
        groups.PlaneOrientationSequence = [orientation]
        dataset.PerFrameFunctionalGroupsSequence.append(groups)
    dataset.NumberOfFrames = 3
    return write(dataset, path, np.arange(3 * 40 * 60).reshape(3, 40, 60))


def without(path: Path, target: Path, *keywords: str) -> Path:
    dataset = dcmread(path)
    for keyword in keywords:
        dataset.pop(keyword, None)
    dataset.save_as(target)
    return target


def ct() -> Path:
    return Path(get_testdata_file("CT_small.dcm", download=False))


def warning_of(folder: Path) -> str:
    """The one about DICOM objects, in result.json and report.md alike."""
    warnings = json.loads((folder / "result.json").read_text("utf-8"))["warnings"]
    (found,) = [text for text in warnings if text.startswith("no mask.dcm and report.dcm")]
    assert found.split(":")[0][1:] in (folder / "report.md").read_text("utf-8").replace("\\", "")
    assert not (folder / "mask.dcm").exists() and not (folder / "report.dcm").exists()
    return found


# ------------------------------------------------------------------------------- segmentation


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "oblique"])
def test_masks_lie_where_the_image_lies(tmp_path: Path, name: str) -> None:
    path = (
        write_oblique_slice(tmp_path / "oblique.dcm")
        if name == "oblique"
        else Path(get_testdata_file(name, download=False))
    )
    source, result = dcmread(path), about(path)
    segmentation, _ = saved(result, tmp_path / "out")
    assert segmentation.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert segmentation.StudyInstanceUID == source.StudyInstanceUID
    assert segmentation.SeriesInstanceUID != source.SeriesInstanceUID
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    measures = shared.PixelMeasuresSequence[0]
    assert measures.PixelSpacing == source.PixelSpacing
    assert measures.SliceThickness == source.SliceThickness
    assert ("SpacingBetweenSlices" in measures) is ("SpacingBetweenSlices" in source)
    orientation = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    assert np.allclose(orientation, source.ImageOrientationPatient)
    for groups in segmentation.PerFrameFunctionalGroupsSequence:
        position = groups.PlanePositionSequence[0].ImagePositionPatient
        assert np.allclose(position, source.ImagePositionPatient)
    frames = segmentation.get_pixels_by_source_instance([source.SOPInstanceUID])
    for number, finding in enumerate(result.findings):
        assert np.array_equal(frames[0, ..., number] > 0, finding.mask)


def test_segments_carry_names_codes_and_the_algorithm(tmp_path: Path) -> None:
    segmentation, _ = saved(about(ct()), tmp_path / "out")
    descriptions = segmentation.SegmentSequence
    assert [d.SegmentLabel for d in descriptions] == [
        "tumor 1", "tumor 2", "left lung", "肿瘤 żółć",
    ]  # fmt: skip
    kinds = [d.SegmentedPropertyTypeCodeSequence[0] for d in descriptions]
    assert [(k.CodeValue, k.CodingSchemeDesignator) for k in kinds[:3]] == [
        ("108369006", "SCT"), ("108369006", "SCT"), ("44029006", "SCT"),
    ]  # fmt: skip
    assert kinds[3].CodingSchemeDesignator == "99SIM4SEG"
    assert descriptions[2].SegmentedPropertyCategoryCodeSequence[0].CodeValue == "91723000"
    assert descriptions[2].AnatomicRegionSequence[0].CodeMeaning == "Chest"
    assert {d.SegmentAlgorithmType for d in descriptions} == {"AUTOMATIC"}
    assert len({d.TrackingUID for d in descriptions}) == 4


def test_an_image_where_nothing_was_found_has_an_empty_segment(tmp_path: Path) -> None:
    case = read_case(ct())
    result = about(ct(), masks={"polyp": np.zeros(case.size, bool)})
    segmentation, report = saved(result, tmp_path / "out")
    assert not segmentation.pixel_array.any()
    group = report.content.get_image_measurement_groups()[0]
    presence = group.get_qualitative_evaluations(dicom_measurements.PRESENCE)
    assert [evaluation.value.meaning for evaluation in presence] == ["Absent"]


def test_a_single_finding_is_the_usual_case(tmp_path: Path) -> None:
    size = read_case(ct()).size
    result = about(ct(), masks={"tumor": box(size, 10, 10, 30, 40)})
    segmentation, report = saved(result, tmp_path / "out")
    assert np.array_equal(np.squeeze(segmentation.pixel_array) > 0, result.findings[0].mask)
    (group,) = report.content.get_planar_roi_measurement_groups()
    segment = group.referenced_segmentation_frame
    assert (segment.referenced_segment_numbers, segment.referenced_frame_numbers) == ([1], [1])


def test_a_single_finding_in_one_of_several_frames(tmp_path: Path) -> None:
    path = write_frames(tmp_path / "frames.dcm")
    size = read_case(path, 1).size
    result = about(path, frame=1, masks={"tumor": box(size, 10, 10, 20, 20)})
    segmentation, _ = saved(result, tmp_path / "out")
    numbers = [e.value for e in segmentation.iterall() if e.keyword == "ReferencedFrameNumber"]
    assert numbers == [2]
    positions = [e.value for e in segmentation.iterall() if e.keyword == "ImagePositionPatient"]
    assert positions == [[1, 2, 10]]


# ------------------------------------------------------------------------------- report


def test_measurements_of_each_finding_are_in_the_structured_report(tmp_path: Path) -> None:
    result = about(ct())
    segmentation, report = saved(result, tmp_path / "out")
    source = dcmread(ct())
    assert report.StudyInstanceUID == source.StudyInstanceUID
    groups = report.content.get_planar_roi_measurement_groups()
    assert [group.tracking_identifier for group in groups] == ["tumor 1", "tumor 2", "left lung"]
    for number, (group, finding) in enumerate(zip(groups, result.findings, strict=False), start=1):
        values = {
            (m.name.value, None if m.derivation is None else m.derivation.meaning): m
            for m in group.get_measurements()
        }
        sizes = finding.measurements
        assert values["42798000", None].value == pytest.approx(sizes["area_mm2"])
        assert values["42798000", None].unit.value == "mm2"
        assert values["103339001", None].value == pytest.approx(sizes["longest_diameter_mm"])
        assert values["112031", "Mean"].value == pytest.approx(sizes["intensity_mean"])
        assert values["112031", "Mean"].unit.value == "[hnsf'U]"
        assert values["111012", None].value == 90
        segment = group.referenced_segmentation_frame
        assert segment.referenced_sop_instance_uid == segmentation.SOPInstanceUID
        assert segment.referenced_segment_numbers == [number]
        assert group.tracking_uid == segmentation.SegmentSequence[number - 1].TrackingUID


def test_diagnoses_are_coded_with_their_certainty(tmp_path: Path) -> None:
    unsure = Diagnosis("COVID-19 pneumonia", 0.48, (("Legionella", 0.41),), True)
    _, report = saved(about(ct(), diagnosis=unsure), tmp_path / "out")
    found = []
    for group in report.content.get_image_measurement_groups():
        for evaluation in group.get_qualitative_evaluations():
            if evaluation.name == dicom_measurements.IMPRESSION:
                (certainty,) = group.get_measurements()
                found.append((evaluation.value, certainty.value, certainty.unit.value))
    (covid, *_), (legionella, *_) = found
    assert covid.value == "882784691000119100" and covid.scheme_designator == "SCT"
    assert legionella.scheme_designator == "99SIM4SEG"
    assert [(value, unit) for _, value, unit in found] == [(48, "%"), (41, "%")]


def test_the_text_says_what_the_report_is(tmp_path: Path) -> None:
    _, report = saved(about(ct()), tmp_path / "out")
    texts = [
        item.TextValue for item in report.ContentSequence if item.name == dicom_measurements.COMMENT
    ]
    assert texts[0].startswith("Glioma (72 %).")
    assert "research tool" in texts[-1]
    assert report.VerificationFlag == "UNVERIFIED"


def test_both_refer_to_the_image(tmp_path: Path) -> None:
    source = dcmread(ct())
    segmentation, report = saved(about(ct()), tmp_path / "out")
    series = segmentation.ReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == source.SeriesInstanceUID
    assert series.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    evidence = {
        instance.ReferencedSOPInstanceUID
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }
    assert evidence == {source.SOPInstanceUID, segmentation.SOPInstanceUID}


def test_a_result_without_findings_still_has_a_report(tmp_path: Path) -> None:
    for number, diagnosis in enumerate((Diagnosis("glioma", 0.7), Diagnosis(None, 0.3))):
        folder = save_result(about(ct(), masks={}, diagnosis=diagnosis), tmp_path / str(number))
        assert not (folder / "mask.dcm").exists()
        assert len(sr.srread(folder / "report.dcm").content.get_image_measurement_groups()) == 1


def test_names_in_old_character_sets_arrive_in_unicode(tmp_path: Path) -> None:
    segmentation, report = saved(about(write_oblique_slice(tmp_path / "a.dcm")), tmp_path / "out")
    for dataset in (segmentation, report):
        assert str(dataset.PatientName) == PATIENT and dataset.PatientID == PATIENT_ID
        assert dataset.SpecificCharacterSet == "ISO_IR 192"
    japanese = Path(get_testdata_file("J2K_pixelrep_mismatch.dcm", download=False))
    segmentation, _ = saved(about(japanese), tmp_path / "japanese")
    assert str(segmentation.PatientName) == str(dcmread(japanese).PatientName)


# ------------------------------------------------------------------------------- frames


def test_one_of_several_frames_is_referred_to_by_its_number(tmp_path: Path) -> None:
    path = write_frames(tmp_path / "frames.dcm")
    result = about(path, frame=2)
    segmentation, report = saved(result, tmp_path / "out")
    for groups in segmentation.PerFrameFunctionalGroupsSequence:
        (image,) = groups.DerivationImageSequence[0].SourceImageSequence
        assert image.ReferencedFrameNumber == 3
        assert groups.PlanePositionSequence[0].ImagePositionPatient == [1, 2, 20]
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    orientation = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    assert np.allclose(orientation, [1, 0, 0, 0, 0.8, 0.6])
    assert np.array_equal(segmentation.pixel_array[1] > 0, result.findings[1].mask)
    group = report.content.get_planar_roi_measurement_groups()[0]
    source = group.referenced_segmentation_frame.source_image_for_segmentation
    assert source.referenced_frame_numbers == [3]


def test_a_film_without_geometry_is_referred_to_by_its_frame(tmp_path: Path) -> None:
    dataset = header(UltrasoundMultiFrameImageStorage, Modality="US", NumberOfFrames=4)
    path = write(dataset, tmp_path / "us.dcm", np.arange(4 * 30 * 30).reshape(4, 30, 30))
    segmentation, _ = saved(about(path, frame=1), tmp_path / "out")
    assert "FrameOfReferenceUID" not in segmentation
    assert "PixelMeasuresSequence" not in segmentation.SharedFunctionalGroupsSequence[0]
    (image,) = (
        segmentation.PerFrameFunctionalGroupsSequence[0]
        .DerivationImageSequence[0]
        .SourceImageSequence
    )
    assert image.ReferencedFrameNumber == 2


@pytest.mark.parametrize("name", ["SC_rgb_rle.dcm", "examples_rgb_color.dcm"])
def test_colour_and_secondary_capture_need_no_frame_of_reference(tmp_path: Path, name: str) -> None:
    result = about(Path(get_testdata_file(name, download=False)))
    segmentation, report = saved(result, tmp_path / "out")
    assert "FrameOfReferenceUID" not in segmentation
    assert np.array_equal(segmentation.pixel_array[0] > 0, result.findings[0].mask)
    assert len(report.content.get_planar_roi_measurement_groups()) == 3


# ------------------------------------------------------------------------------- what is missing


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ("FrameOfReferenceUID", "no frame of reference"),
        ("StudyInstanceUID", "no StudyInstanceUID"),
        ("SeriesInstanceUID", "no SeriesInstanceUID"),
    ],
)
def test_what_the_header_lacks_is_explained(tmp_path: Path, missing: str, reason: str) -> None:
    path = without(ct(), tmp_path / "a.dcm", missing)
    folder = save_result(about(path), tmp_path / "out")
    assert reason in warning_of(folder)
    assert (folder / "mask.nii.gz").exists() and (folder / "explanation.png").exists()


def test_what_may_be_unknown_may_be_missing(tmp_path: Path) -> None:
    gaps = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber",
            "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName", "SliceThickness",
            "Modality")  # fmt: skip
    saved(about(without(ct(), tmp_path / "a.dcm", *gaps)), tmp_path / "out")


def test_a_file_that_has_gone_or_changed_is_explained(tmp_path: Path) -> None:
    path = write_oblique_slice(tmp_path / "a.dcm")
    result = about(path)
    path.unlink()
    assert "can no longer be read" in warning_of(save_result(result, tmp_path / "gone"))
    write(header(MRImageStorage), path, np.zeros((7, 9)))
    assert "no longer the image" in warning_of(save_result(result, tmp_path / "changed"))


def test_files_that_are_no_dicom_get_no_dicom_objects(tmp_path: Path) -> None:
    folder = save_result(MadeUp().result(), tmp_path / "out")
    assert not list(folder.glob("*.dcm"))
    assert json.loads((folder / "result.json").read_text("utf-8"))["warnings"] == []


def test_nothing_of_the_patient_is_printed_or_logged(tmp_path: Path) -> None:
    """highdicom warns about names by quoting them."""
    path = tmp_path / "a.dcm"
    dataset = dcmread(write_oblique_slice(path))
    dataset.PatientName = "Secretname"
    dataset.save_as(path)
    program = (
        "import sys, logging; logging.basicConfig(level=logging.DEBUG)\n"
        "logging.getLogger('PIL').setLevel('INFO')\n"
        f"sys.path.insert(0, {str(ROOT / 'Testing/report')!r})\n"
        "from pathlib import Path\n"
        "from test_report_dicom import about\n"
        "from Sim4SegCore.output import save_result\n"
        f"result = about(Path({str(path)!r}))\n"
        f"save_result(result, Path({str(tmp_path / 'out')!r}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    for text in (done.stdout, done.stderr):
        assert "Secretname" not in text and PATIENT_ID not in text
    for name in ("result.json", "report.md"):
        text = (tmp_path / "out" / name).read_text("utf-8")
        assert "Secretname" not in text and PATIENT_ID not in text
