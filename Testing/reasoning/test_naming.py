"""Different words for one diagnosis, and words that deny it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Sim4SegCore.modeling.answer import UNKNOWN_DIAGNOSIS
from Sim4SegCore.reasoning.naming import diagnosis_meaning


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("melanoma", " Melanoma."),
        ("melanoma", "malignant melanoma"),
        ("melanoma", "a melanoma"),
        ("melanoma", "most likely a malignant melanoma"),
        ("atypical nevus", "dysplastic naevus of skin"),
        ("pituitary tumor", "Pituitary tumour"),
        ("healthy", "normal"),
        ("no tumor", "no evidence of a tumour"),
        ("no tumor", "there is no tumor"),
        ("no tumor", "tumor is not seen"),
        ("no tumor", "negative for neoplasm"),
        ("not melanoma", "melanoma is excluded"),
        ("cat-scratch disease", "Cat-Scratch  disease"),
        ("メラノーマ", "\u30e1\u30e9\u30ce\u30fc\u30de。".rstrip("。")),
    ],
)
def test_the_same_diagnosis(one, other):
    assert diagnosis_meaning(one) == diagnosis_meaning(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("melanoma", "not melanoma"),
        ("fracture", "no fracture"),
        ("tumor is absent", "tumor"),
        ("fracture", "wrist fracture"),
        ("glioma", "lower-grade glioma"),
        ("benign", "malignant"),
        (UNKNOWN_DIAGNOSIS, "melanoma"),
        ("nodule", "no nodule"),
        ("normal", "nodule"),
    ],
)
def test_different_diagnoses(one, other):
    assert diagnosis_meaning(one) != diagnosis_meaning(other)


def test_what_is_denied_twice_is_not_denied():
    assert diagnosis_meaning("no absence of fracture") == diagnosis_meaning("fracture")


@given(st.text(max_size=40))
def test_any_text_has_a_meaning(text):
    assert diagnosis_meaning(text) == diagnosis_meaning(f" {text} ")
