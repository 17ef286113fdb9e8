"""What is kept of each answer."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class StructureRow:
    """A mask that was asked for by name, against one of the image's true masks.

    Attributes:
        asked: the name in the query.
        target: the structure that it means.
        truth: the structure that the mask is compared with.
        iou, dice: of the mask and that structure's true mask.
        true_iou: of the two structures' true masks: what an obedient mask would have.
        mask_shown: the mask has a pixel.
    """

    id: str
    dataset: str
    cluster: str
    asked: str
    target: str
    truth: str
    iou: float
    dice: float
    true_iou: float
    mask_shown: bool


@dataclass(frozen=True)
class AbsentRow:
    """A query for what is not in the image.

    Attributes:
        kind: how that is known, see `plan.ABSENT_KINDS`.
        presence: the model's probability.
        covered: share of the image's pixels in the mask.
    """

    id: str
    dataset: str
    cluster: str
    kind: str
    target: str
    presence: float
    mask_shown: bool
    covered: float


@dataclass(frozen=True)
class Worded:
    """One wording of a query, and the Dice of its mask with the true one."""

    sentence: str
    query: str
    mask_shown: bool
    dice: float


@dataclass(frozen=True)
class ParaphraseRow:
    """One finding in several words.

    Attributes:
        seen: training draws from these sentences.
        agreement: mean Dice of every two masks; two empty ones count 1.
    """

    id: str
    dataset: str
    cluster: str
    target: str
    seen: bool
    agreement: float
    words: tuple[Worded, ...]


@dataclass(frozen=True)
class ObedienceRows:
    """Everything that was measured."""

    structures: list[StructureRow] = field(default_factory=list)
    absent: list[AbsentRow] = field(default_factory=list)
    paraphrases: list[ParaphraseRow] = field(default_factory=list)
