"""What the report says, in sentences, numbers and Markdown."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_made_up import AXIAL, FLAT, GLIOMA, MadeUp, box, sampled

from Sim4SegCore.case import Case, CheckedClaim, Diagnosis, Geometry
from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.output import result_to_dict
from Sim4SegCore.report.build import build_report
from Sim4SegCore.report.markdown import to_markdown
from Sim4SegCore.report.summary import report_text
from Sim4SegCore.report.wording import RESEARCH_NOTICE, diagnosis_words, percent

SIZE = (120, 160)
CLAIMS = (
    CheckedClaim("round", "shape", "supported", ""),
    CheckedClaim("in the left half", "place", "contradicted", "but it is at 72 percent"),
    CheckedClaim("MRI of the head", "modality", "not checkable", "the file does not tell"),
)


def markdown(made_up: MadeUp) -> str:
    result = made_up.result()
    return to_markdown(build_report(result), result.query.text)


# ------------------------------------------------------------------------------- findings


def test_a_finding_is_told_with_place_size_and_contrast() -> None:
    report = build_report(MadeUp().result())
    assert report.findings[0].text == (
        "Tumor (presence 90 %): one region in the upper right quadrant, 36 × 33 pixels "
        "(longest × perpendicular diameter), 3.1 % of the image. "
        "Mean intensity 150.5 ± 0.5, 100 above the rim."
    )
    assert report.findings[0].code.meaning == "Neoplasm"


def test_sizes_are_in_millimetres_where_the_spacing_is_known() -> None:
    report = build_report(MadeUp(geometry=AXIAL, modality="CT").result())
    assert "18.0 × 16.6 mm (longest" in report.findings[0].text
    assert "Mean attenuation 150.5 ± 0.5 HU, 100 HU above the rim." in report.findings[0].text
    assert "left anterior quadrant" in report.findings[0].text
    values = {(row.name, row.unit): row.value for row in report.measurements}
    assert values["area", "mm²"] == 150
    assert values["longest diameter", "mm"] == pytest.approx(18.03, abs=0.01)
    assert values["mean attenuation", "HU"] == 150.5
    assert not any(unit == "px" for _, unit in values)
    assert "in pixels" not in " ".join(report.limitations)


def test_without_spacing_everything_is_in_pixels_and_says_so() -> None:
    report = build_report(MadeUp(modality="CT").result())
    assert not any("mm" in row.unit for row in report.measurements)
    assert "Sizes are in pixels: the file does not state the size of a pixel." in report.limitations
    assert " mm" not in report.findings[0].text + report.technique.text


def test_what_is_not_there_is_said_and_not_measured() -> None:
    text = markdown(MadeUp(masks={"polyp": np.zeros(SIZE, bool)}))
    assert "- Polyp: not found (presence 90 %)." in text
    assert "## Measurements" not in text
    assert "Nothing was found in this image." in markdown(MadeUp(masks={}))


def test_a_mask_at_the_border_may_be_larger_than_seen() -> None:
    one = build_report(MadeUp(masks={"tumor": box(SIZE, 0, 50, 20, 30)}).result())
    assert "reaches the upper border of the image and may be larger" in one.findings[0].text
    whole = build_report(MadeUp(masks={"tumor": np.ones(SIZE, bool)}).result())
    assert "reaches the upper, lower, left and right borders" in whole.findings[0].text
    assert "100 % of the image" in whole.findings[0].text
    inside = build_report(MadeUp().result())
    assert "border" not in inside.findings[0].text


def test_findings_with_one_name_are_numbered() -> None:
    masks = [("nodule", box(SIZE, 5, 5, 9, 9)), ("nodule", box(SIZE, 80, 90, 9, 9)),
             ("tumor", box(SIZE, 50, 50, 9, 9))]  # fmt: skip
    report = build_report(MadeUp(masks=masks).result())
    assert [finding.name for finding in report.findings] == ["nodule 1", "nodule 2", "tumor"]
    assert {row.finding for row in report.measurements} == {"nodule 1", "nodule 2", "tumor"}
    table = [line for line in markdown(MadeUp(masks=masks)).splitlines() if line.startswith("| ")]
    assert table[0] == "| | nodule 1 | nodule 2 | tumor |"
    assert table[1] == "| area | 81 pixels | 81 pixels | 81 pixels |"


def test_several_regions_are_counted_and_the_largest_is_measured() -> None:
    mask = box(SIZE, 10, 10, 20, 20) | box(SIZE, 60, 60, 4, 4)
    text = build_report(MadeUp(masks={"tumor": mask}).result()).findings[0].text
    assert "2 regions mainly in the upper left quadrant, the largest 28 × 28 pixels" in text


# ------------------------------------------------------------------------------- impression


def test_impression_names_diagnosis_and_alternatives() -> None:
    impression = build_report(MadeUp().result()).impression
    assert impression.text == "Glioma (72 %). Alternatives: meningioma (20 %) and no tumor (8 %)."
    assert [candidate.code.scheme for candidate in impression.candidates] == [
        "SCT", "SCT", "99SIM4SEG",
    ]  # fmt: skip


def test_an_uncertain_diagnosis_is_no_diagnosis() -> None:
    unsure = Diagnosis("glioma", 0.48, (("meningioma", 0.41), ("no tumor", 0.03)), True)
    assert diagnosis_words(unsure) == "uncertain: glioma (48 %) or meningioma (41 %)"
    result = MadeUp(diagnosis=unsure).result()
    report = build_report(result)
    assert report.impression.text == "Uncertain: glioma (48 %) or meningioma (41 %)."
    assert report.impression.uncertain
    assert "too low for a diagnosis" in " ".join(report.limitations)
    assert "Suggested" not in report_text(result)
    assert "Diagnosis uncertain: glioma (48 %) or meningioma (41 %)." in report_text(result)
    assert result_to_dict(result)["diagnosis"]["uncertain"] is True


def test_three_close_candidates_are_all_told() -> None:
    close = Diagnosis("a", 0.3, (("b", 0.28), ("c", 0.25), ("d", 0.17)), True)
    assert diagnosis_words(close) == "uncertain: a (30 %), b (28 %) or c (25 %)"
    alone = Diagnosis("a", 0.3, (), True)
    assert diagnosis_words(alone) == "uncertain: a (30 %)"


@pytest.mark.parametrize("uncertain", [False, True])
def test_an_answer_without_a_diagnosis(uncertain: bool) -> None:
    made_up = MadeUp(diagnosis=Diagnosis(None, 0.6, (), uncertain), samples=sampled(None, None))
    assert "No diagnosis is suggested." in markdown(made_up)
    assert build_report(made_up.result()).impression.candidates == ()


def test_confidence_that_is_no_number_is_unknown() -> None:
    assert percent(float("nan")) == "unknown"
    made_up = MadeUp(diagnosis=Diagnosis("glioma", float("nan")))
    assert "Glioma (unknown)." in markdown(made_up)
    json.dumps(result_to_dict(made_up.result()), allow_nan=False)


def test_percent_never_claims_certainty() -> None:
    shares = [0.0, 0.001, 0.009, 0.01, 0.5, 0.99, 0.991, 0.9999, 1.0]
    assert [percent(share) for share in shares] == [
        "0 %", "<1 %", "<1 %", "1 %", "50 %", "99 %", ">99 %", ">99 %", "100 %",
    ]  # fmt: skip


# ------------------------------------------------------------------------------- other sections


def test_contradicted_statements_come_first() -> None:
    text = markdown(MadeUp(claims=CLAIMS, warnings=("the reasoning disagrees",)))
    table = text.split("## Statements of the reasoning")[1].split("##")[0].strip().splitlines()
    assert table[2] == ("| in the left half | place | **contradicted** | but it is at 72 percent |")
    assert table[3].startswith("| round | shape | supported")
    assert "| not checkable |" in table[4]
    claims = build_report(MadeUp(claims=CLAIMS).result()).claims
    assert (claims.supported, claims.contradicted, claims.not_checkable) == tuple(
        (claim,) for claim in CLAIMS
    )
    assert "- The reasoning disagrees." in text


def test_technique_says_what_was_looked_at() -> None:
    placed = build_report(MadeUp(geometry=AXIAL, modality="MR").result()).technique
    assert placed.text == (
        "MR image, axial, 160 × 120 pixels of 0.5 × 0.5 mm. "
        "Directions are the patient's; quadrants are those of the image."
    )
    assert (placed.plane, placed.size_px, placed.spacing_mm) == ("axial", (160, 120), (0.5, 0.5))
    unplaced = build_report(MadeUp(samples=sampled("glioma", "glioma")).result()).technique
    assert unplaced.text == (
        "Image, 160 × 120 pixels. The file does not state its modality. "
        "Left and right are those of the image. The result combines 2 answers."
    )
    assert unplaced.answers == 2


def test_every_report_ends_with_the_notice_and_says_it_once() -> None:
    for made_up in (MadeUp(), MadeUp(masks={}), MadeUp(geometry=AXIAL, modality="CT")):
        assert build_report(made_up.result()).limitations[-1] == RESEARCH_NOTICE
        assert markdown(made_up).count("not a medical device") == 1


def test_projections_and_sections_have_limits_of_their_own() -> None:
    radiograph = build_report(MadeUp(geometry=AXIAL, modality="DX").result()).limitations
    assert any("magnification" in text for text in radiograph)
    section = build_report(MadeUp(geometry=AXIAL, modality="MR").result()).limitations
    assert any("One image was assessed" in text for text in section)


def test_sections_are_in_result_json() -> None:
    made_up = MadeUp(geometry=AXIAL, modality="CT", claims=CLAIMS)
    report = result_to_dict(made_up.result())["report"]
    assert list(report) == [
        "text", "technique", "findings", "measurements", "impression", "claims", "limitations",
    ]  # fmt: skip
    finding = report["findings"][0]
    assert finding["location"]["quadrant"] == "left anterior"
    assert finding["code"] == {"value": "108369006", "scheme": "SCT", "meaning": "Neoplasm"}
    assert report["impression"]["candidates"][0]["code"]["value"] == "393564001"
    assert report["claims"]["contradicted"][0]["statement"] == "in the left half"
    assert json.loads(json.dumps(report, allow_nan=False)) == report


# ------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("spacing", [(0.0, 0.5, 1.0), (0.5, -1.0, 1.0), (0.5, float("nan"), 1.0)])
def test_impossible_spacing_is_refused(spacing: tuple[float, float, float]) -> None:
    with pytest.raises(Sim4SegError, match="impossible; give the distance of voxels"):
        Geometry(spacing, (0, 0, 0), FLAT)


@given(text=st.text(min_size=1, max_size=80))
def test_any_text_is_one_cell_or_line(text: str) -> None:
    claim = CheckedClaim(text, "shape", "contradicted", text)
    made_up = MadeUp(
        masks={text: box(SIZE, 5, 5, 9, 9)}, claims=(claim,), diagnosis=Diagnosis(text, 0.5)
    )
    plain = markdown(dataclasses.replace(made_up, masks={"a": box(SIZE, 5, 5, 9, 9)},
                                         claims=(dataclasses.replace(claim, statement="a",
                                                                     measured="a"),),
                                         diagnosis=GLIOMA))  # fmt: skip
    found = markdown(made_up)
    assert len(found.splitlines()) == len(plain.splitlines())
    headings = [line for line in found.splitlines() if line.startswith("#")]
    assert headings == [line for line in plain.splitlines() if line.startswith("#")]


def test_scripts_of_the_world_stay_as_they_are() -> None:
    made_up = MadeUp(
        masks={"肿瘤 żółć": box(SIZE, 5, 5, 9, 9)}, query="Gdzie jest guz? 肿瘤在哪里？"
    )
    text = markdown(made_up)
    assert "肿瘤 żółć" in text and "Gdzie jest guz? 肿瘤在哪里？" in text


def test_colour_images_have_no_intensities() -> None:
    case = Case(np.zeros((*SIZE, 3), np.uint8))
    report = build_report(MadeUp(case=case).result())
    assert report.technique.text.startswith("Colour image, 160 × 120 pixels.")
    assert not any("intensity" in row.name for row in report.measurements)
