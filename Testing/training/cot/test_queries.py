from collections import Counter
from dataclasses import replace

import pytest
from made_up import make_record

from Sim4SegCore.modeling.answer import UNKNOWN_DIAGNOSIS
from training.cot.queries import QueryCounts, make_items
from training.targets import SYNONYMS

CHEST = make_record(
    {"left lung": "l", "right lung": "r", "consolidation": "c"},
    "SARS",
    dataset="COVID-CXR",
    modality="X-ray",
    body_part="chest",
)
NORMAL = make_record({}, "no fracture", dataset="FracAtlas", modality="X-ray", body_part="leg")
ANNOTATED = {
    "COVID-CXR": frozenset({"left lung", "cardiomediastinum", "pneumothorax", "pleural effusion"})
}
MANY = QueryCounts(per_target=4, normal=2, absent=4, multi=3)


def items_of(record, counts=MANY, seed=0):
    return list(make_items([record], counts, seed, ANNOTATED))


def test_every_kind_is_asked_and_no_query_twice():
    items = items_of(CHEST)
    kinds = Counter(item.kind for item in items)
    assert kinds["finding"] == 12
    assert {"normal", "absent", "multi"} <= set(kinds)
    assert len({item.query for item in items}) == len(items)


def test_the_same_seed_gives_the_same_queries_whatever_else_is_asked():
    alone = [item.key for item in items_of(CHEST)]
    among = [item.key for item in make_items([NORMAL, CHEST], MANY, 0, ANNOTATED)]
    assert among[-len(alone) :] == alone
    assert alone != [item.key for item in items_of(CHEST, seed=1)]


@pytest.mark.parametrize("record", [CHEST, NORMAL, make_record()])
def test_absent_targets_are_not_in_the_image_and_findings_are(record):
    for seed in range(20):
        for item in items_of(record, seed=seed):
            present = [record.is_present(target) for target in item.targets]
            if item.kind == "absent":
                assert not any(present)
            if item.kind == "multi":
                assert all(present)
                assert 2 <= len(set(item.targets)) <= 3
                low = item.query.lower()
                for target in item.targets:
                    assert any(name.lower() in low for name in SYNONYMS[target])


def test_absent_queries_ask_for_other_organs_and_for_what_could_be_there():
    asked = {
        item.targets[0] for n in range(40) for item in items_of(CHEST, seed=n)
        if item.kind == "absent"
    }  # fmt: skip
    assert {"pneumothorax", "pleural effusion"} <= asked
    assert {"polyp", "tumor", "skin lesion"} <= asked
    # Every chest has a heart, drawn or not, and nobody looked for an emphysema.
    assert not {"cardiomediastinum", "emphysema"} & asked


def test_another_organs_target_gets_no_diagnosis():
    for seed in range(20):
        for item in items_of(CHEST, seed=seed):
            elsewhere = item.targets[0] in ("polyp", "tumor", "skin lesion", "fracture")
            if elsewhere or item.kind != "absent":
                assert item.diagnosis == (UNKNOWN_DIAGNOSIS if elsewhere else "SARS")


def test_normal_queries_of_normal_and_other_images():
    (normal, _) = [item for item in items_of(NORMAL) if item.kind == "normal"]
    assert (normal.targets, normal.is_normal) == (("fracture",), True)
    abnormal = [item for item in items_of(CHEST) if item.kind == "normal"]
    assert {item.targets for item in abnormal} == {("consolidation",)}
    fundus = make_record({"retinal vessels": "v"}, "glaucoma", dataset="HRF", body_part="retina")
    assert not [item for item in items_of(fundus) if item.kind == "normal"]


def test_unknown_masks_are_not_taken_for_missing_targets():
    unknown = replace(make_record(dataset="ISIC2017-256"), masks=None)
    for seed in range(20):
        absent = [item for item in items_of(unknown, seed=seed) if item.kind == "absent"]
        assert absent
        assert all(item.targets != ("skin lesion",) for item in absent)
