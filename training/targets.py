"""What training knows of targets and sets; whatever is not named here is asked for by its name."""

from __future__ import annotations

SYNONYMS: dict[str, tuple[str, ...]] = {
    "fracture": ("fracture", "bone fracture", "broken bone", "fracture line", "break"),
    "breast mass": ("breast mass", "breast tumor", "breast lesion", "mass", "breast nodule"),
    "thyroid nodule": ("thyroid nodule", "thyroid lesion", "nodule"),
    "retinal vessels": ("retinal vessels", "blood vessels", "vessels", "retinal blood vessels"),
    "skin lesion": ("skin lesion", "lesion", "mole", "pigmented lesion", "nevus"),
    "tumor": ("tumor", "brain tumor", "tumour", "brain tumour", "brain lesion"),
    "polyp": ("polyp", "colon polyp", "colorectal polyp"),
    "left lung": ("left lung", "lung on the left side", "patient's left lung"),
    "right lung": ("right lung", "lung on the right side", "patient's right lung"),
    "cardiomediastinum": (
        "heart",
        "cardiomediastinum",
        "heart and mediastinum",
        "cardiac silhouette",
    ),
    "ground glass opacities": (
        "ground glass opacities",
        "ground-glass opacity",
        "ground-glass opacification",
    ),
    "consolidation": ("consolidation", "lung consolidation"),
    "tubings": ("tubings", "tubes and lines", "tubes"),
    "pleural effusion": ("pleural effusion", "effusion"),
    "pneumothorax": ("pneumothorax",),
    "atelectasis": ("atelectasis", "lung collapse"),
    "calcification": ("calcification",),
    "cardiomegaly": ("cardiomegaly", "enlarged heart"),
    "diffuse nodules": ("diffuse nodules", "diffuse lung nodules"),
    "emphysema": ("emphysema",),
    "fibrosis": ("fibrosis", "lung fibrosis"),
    "thoracic fracture": ("thoracic fracture", "rib fracture"),
    "lung mass": ("lung mass",),
    "lung nodule": ("lung nodule",),
    "pleural thickening": ("pleural thickening",),
    "hippocampus": ("hippocampus", "hippocampal formation", "hippocampi"),
}
PLURAL_TARGETS = frozenset(
    {"retinal vessels", "ground glass opacities", "tubings", "diffuse nodules"}
)
NORMAL_STRUCTURES = frozenset({"left lung", "right lung", "cardiomediastinum", "hippocampus"})
"""In every image of their body part, whether they were drawn or not."""
ABNORMALITIES = frozenset(SYNONYMS) - NORMAL_STRUCTURES - {"tubings"}

BODY_PARTS: dict[str, frozenset[str]] = {
    "fracture": frozenset({"upper limb", "leg", "hand", "hip", "shoulder", "limb"}),
    "breast mass": frozenset({"breast"}),
    "thyroid nodule": frozenset({"thyroid"}),
    "retinal vessels": frozenset({"retina"}),
    "skin lesion": frozenset({"skin"}),
    "tumor": frozenset({"brain"}),
    "polyp": frozenset({"colon"}),
    "hippocampus": frozenset({"brain"}),
}
"""Where a target can be; the others named in SYNONYMS belong to the chest."""
CHEST = frozenset({"chest"})

IMPLIED_TARGETS = {
    "BUSI": "breast mass",
    "BUSI-256": "breast mass",
    "TN3K": "thyroid nodule",
    "ISIC2017-256": "skin lesion",
    "ISIC2018": "skin lesion",
    "ISBI2016": "skin lesion",
    "PH2": "skin lesion",
    "Kvasir-SEG": "polyp",
    "FIVES": "retinal vessels",
    "HRF": "retinal vessels",
    "DRIVE": "retinal vessels",
    "CHASE_DB1": "retinal vessels",
    "COVID-CXR": "ground glass opacities",
    "ChestX-Det": "consolidation",
    "LGG": "tumor",
    "BRISC": "tumor",
    "FracAtlas": "fracture",
    "BF": "fracture",
    "BoneFractureDetection": "fracture",
    "Hippocampus": "hippocampus",
}
"""What a set asks for where a record lists no finding."""
ABSENT_TARGETS = {"Hippocampus": ("tumor",)}
"""Targets that no image of a set shows, so that it teaches to tell them from its own."""

STRANGERS: dict[str, frozenset[str]] = {
    "liver": frozenset({"chest"}),
    "liver tumor": frozenset({"chest"}),
    "spleen": frozenset({"chest"}),
    "stomach": frozenset({"chest", "colon"}),
    "aorta": frozenset({"chest"}),
    "kidney": frozenset(),
    "kidney stone": frozenset(),
    "pancreas": frozenset(),
    "gallbladder": frozenset(),
    "bladder": frozenset({"hip"}),
    "prostate": frozenset({"hip"}),
    "uterus": frozenset({"hip"}),
    "vertebra": frozenset({"chest", "hip"}),
    "tooth": frozenset(),
    "knee cartilage": frozenset({"leg", "limb"}),
    "optic disc": frozenset({"retina", "brain"}),
}
"""Structures that no set has masks of, and the body parts whose images may show them."""
UNNAMED_TARGET = "abnormality"
"""What is asked for in a set of the user's own, where a record lists no finding."""

DATASET_QUESTIONS: dict[str, tuple[str, ...]] = {
    "FracAtlas": ("Is the bone broken?", "Is it fractured or not?"),
    "BoneFractureDetection": (
        "Which part of the arm is fractured?",
        "Which site of the upper limb is fractured?",
    ),
    "BUSI": ("Is the tumor benign or malignant?", "Is it benign or malignant?"),
    "BUSI-256": ("Is the tumor benign or malignant?", "Is it benign or malignant?"),
    "ISIC2017-256": ("Is it a melanoma?", "Is it melanoma or not?"),
    "PH2": (
        "Is it a common nevus, an atypical nevus or a melanoma?",
        "What kind of nevus is it, or is it a melanoma?",
    ),
    "LGG": ("Is there a glioma?", "Is it a lower-grade glioma?"),
    "BRISC": ("Is it a glioma, a meningioma or a pituitary tumor?", "Which tumor is it?"),
    "HRF": ("Does the eye look healthy?", "Is it glaucoma or diabetic retinopathy?"),
    "FIVES": ("Does the eye look healthy?", "Which disease does the eye have?"),
    "DRIVE": ("Does the eye look healthy?",),
    "CHASE_DB1": ("Does the eye look healthy?",),
    "COVID-CXR": ("Which pneumonia is it?", "What is the cause of the pneumonia?"),
    "Kvasir-SEG": ("What is it?",),
    "BF": ("Is the bone broken?",),
    "ISBI2016": ("Is it benign or malignant?",),
    "ISIC2018": ("Which kind of skin lesion is it?",),
    "TN3K": ("Is it benign or malignant?", "Is the nodule benign or malignant?"),
    "ChestX-Det": ("Which abnormality is it?", "What is wrong in this chest X-ray?"),
    "Hippocampus": ("How large is it?", "Report its volume.", "What is its size?"),
}
OTHER_SETS_QUESTIONS = ("What is it?", "What is the diagnosis?")


def synonyms(target: str) -> tuple[str, ...]:
    """Names of a target, its own first."""
    return SYNONYMS.get(target, (target,))


def questions_about(dataset: str) -> tuple[str, ...]:
    """What a set wants to know besides the mask; evaluation asks the first."""
    return DATASET_QUESTIONS.get(dataset, OTHER_SETS_QUESTIONS)


def strangers_to(body_part: str) -> list[str]:
    """Everything that an image of a body part surely does not show."""
    known = [target for target in SYNONYMS if elsewhere(target, body_part)]
    return known + [name for name, homes in STRANGERS.items() if body_part not in homes]


def elsewhere(target: str, body_part: str) -> bool:
    """Whether a target is known to belong to another part of the body than this one."""
    return target in SYNONYMS and body_part not in BODY_PARTS.get(target, CHEST)
