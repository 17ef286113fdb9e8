"""Plain data that walks through the package: Case and Query go in, Result comes out.

Knows nothing of torch, files or models.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import Sim4SegError
from .modalities import apparent_code

SCHEMA_VERSION = "2.2"
MAX_QUERY_CHARACTERS = 1000
SIDES = re.compile(r"\b(left|right)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Geometry:
    """Where voxels lie in the patient, in ITK's conventions.

    Attributes:
        spacing: mm between voxel centres along i, j, k.
        origin: LPS position in mm of the centre of voxel (0, 0, 0).
        direction: row-major 3x3 cosines; column n is the LPS direction of index axis n.

    Raises:
        Sim4SegError: if a spacing is not above 0.
    """

    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[float, ...]

    def __post_init__(self) -> None:
        if not all(0 < distance < math.inf for distance in self.spacing):
            raise Sim4SegError(
                f"a spacing of {' x '.join(f'{distance:g}' for distance in self.spacing)} mm is "
                "impossible; give the distance of voxels, or no geometry to measure in pixels"
            )


@dataclass(frozen=True)
class Case:
    """One image as it was read, before any resampling or windowing.

    Attributes:
        image: (H, W) grey or (H, W, 3) RGB, in the file's own intensities and dtype.
        geometry: None where the file does not say (PNG, JPEG): sizes are then in pixels only.
        source: the file it came from, if any.
        modality: DICOM modality code (CT, MR, ...) if the file says so.
        window: (centre, width) in the image's intensities, if the file proposes one.
        mask_suffix: extension that keeps a mask of this image in its own geometry.
        dicom_frame: which frame of the DICOM file `source` this is, from 0; None of other files.
    """

    image: NDArray[Any]
    geometry: Geometry | None = None
    source: Path | None = None
    modality: str | None = None
    window: tuple[float, float] | None = None
    mask_suffix: str = ".png"
    dicom_frame: int | None = None

    def __post_init__(self) -> None:
        is_grey = self.image.ndim == 2
        is_rgb = self.image.ndim == 3 and self.image.shape[-1] == 3
        if not (is_grey or is_rgb):
            raise Sim4SegError(
                f"expected one grey (H, W) or RGB (H, W, 3) image, got shape {self.image.shape}"
            )
        if min(self.image.shape[:2]) < 2:
            raise Sim4SegError(
                f"the image has {self.image.shape[1]}x{self.image.shape[0]} pixels; "
                "at least 2x2 are needed"
            )
        if not np.isfinite(self.image).all():
            raise Sim4SegError("the image has NaN or infinite pixels; replace them first")

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.image.shape[0], self.image.shape[1]

    @cached_property
    def apparent_modality(self) -> str | None:
        """DICOM code as the file states it, else CT by its values; None if neither tells."""
        return apparent_code(self.modality, self.image if self.image.ndim == 2 else None)


@dataclass(frozen=True)
class Query:
    """A clinical question, checked on construction.

    Raises:
        Sim4SegError: if the text is empty, too long or not valid Unicode.
    """

    text: str

    def __post_init__(self) -> None:
        try:
            self.text.encode("utf-8")
        except UnicodeEncodeError:
            raise Sim4SegError(
                "the query is not valid UTF-8; check the terminal's encoding"
            ) from None
        if not self.text.strip():
            raise Sim4SegError("the query is empty; ask a question about the image")
        if len(self.text) > MAX_QUERY_CHARACTERS:
            raise Sim4SegError(
                f"the query has {len(self.text)} characters; at most {MAX_QUERY_CHARACTERS} "
                "are allowed"
            )

    @property
    def names_side(self) -> bool:
        """Whether it asks for the left or the right of something."""
        return SIDES.search(self.text) is not None


@dataclass(frozen=True)
class Diagnosis:
    """What the answer concludes.

    Attributes:
        label: the named diagnosis, or None if the answer names none.
        confidence: probability of the label among `alternatives` and itself, 0..1.
        alternatives: other labels with their probability, most likely first.
        uncertain: the confidence is below what the checkpoint asks for, or the image is outside
            what the model was trained on; the label is then the first of several candidates, not
            a diagnosis. The confidence stays what it is: a share among the labels that are known.
    """

    label: str | None
    confidence: float
    alternatives: tuple[tuple[str, float], ...] = ()
    uncertain: bool = False


@dataclass(frozen=True)
class Finding:
    """One target of the query and its mask.

    Attributes:
        label: name of the target, as asked for.
        present: whether the model found it; the mask is empty if not.
        confidence: presence probability, 0..1.
        mask: bool (H, W), in the pixels of the case's image.
        measurements: name -> value; names carry their unit (`area_px`, `area_mm2`).
        mask_confidence: expected Dice of the mask, 0..1; None of an empty one.
    """

    label: str
    present: bool
    confidence: float
    mask: NDArray[np.bool_]
    measurements: dict[str, float]
    mask_confidence: float | None = None


Verdict = Literal["supported", "contradicted", "not checkable"]


@dataclass(frozen=True)
class CheckedClaim:
    """A statement of the reasoning, compared with mask and image.

    Attributes:
        statement: the words of the reasoning.
        kind: presence, place, size, percent, shape, border, contrast, modality, …
        measured: what was measured instead, or why nothing could be; may be empty.
    """

    statement: str
    kind: str
    verdict: Verdict
    measured: str


@dataclass(frozen=True)
class SampledAnswer:
    """One of several answers to one query.

    Attributes:
        diagnosis: the label that this answer votes for, or None if it names none.
        log_probability: mean over the tokens of its reasoning.
    """

    diagnosis: str | None
    log_probability: float
    reasoning: str


@dataclass(frozen=True)
class MaskCandidate:
    """One of several masks of one target.

    Attributes:
        name: how it came about, such as "mirrored" or "zoomed".
        mask: bool (H, W), in the pixels of the case's image.
        estimated_iou: the mask decoder's own estimate, 0..1.
    """

    name: str
    mask: NDArray[np.bool_]
    estimated_iou: float


@dataclass(frozen=True)
class Samples:
    """What the answer was made from, for inspection; empty of a single pass."""

    answers: tuple[SampledAnswer, ...] = ()
    masks: tuple[MaskCandidate, ...] = ()


@dataclass(frozen=True)
class Familiarity:
    """How far an image is from those that the model was trained on.

    Attributes:
        distance: from the nearest kind of training image, 0 and above; see
            `modeling.familiarity`.
        limit: which few training images that were held out exceed.
        untaught_modality: DICOM code of the image, if the model was taught no image of its kind.
    """

    distance: float
    limit: float
    untaught_modality: str | None = None

    @property
    def is_outside(self) -> bool:
        """Whether mask and diagnosis mean nothing, however sure the model is of them."""
        return self.untaught_modality is not None or self.distance > self.limit


@dataclass(frozen=True)
class ModelIdentity:
    """Which weights answered."""

    name: str
    sha256: str
    revision: str


@dataclass(frozen=True)
class Result:
    """Everything that one query about one case gives back.

    Attributes:
        similarity: RVLS2M's map, float32 (H, W) in the pixels of the case's image; a
            probability-like 0..1 score of each pixel belonging to the target.
        timing: seconds by stage.
        warnings: sentences the user should read before trusting the result.
        claims: what the reasoning states, each checked against mask and image.
        samples: the answers and masks that were combined.
        familiarity: None if the checkpoint cannot tell, or the image is too small to.
    """

    case: Case
    query: Query
    diagnosis: Diagnosis
    reasoning: str
    findings: tuple[Finding, ...]
    similarity: NDArray[np.float32]
    model: ModelIdentity
    timing: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    claims: tuple[CheckedClaim, ...] = ()
    samples: Samples = field(default_factory=Samples)
    familiarity: Familiarity | None = None

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Union of all findings, bool (H, W)."""
        union = np.zeros(self.case.size, dtype=bool)
        for finding in self.findings:
            union |= finding.mask
        return union

    @property
    def confidence(self) -> float:
        """Confidence of the diagnosis, 0..1."""
        return self.diagnosis.confidence

    def save(self, folder: str | Path, overwrite: bool = False) -> Path:
        """Write masks, pictures, report and result.json; see `output.save_result`."""
        from .output import save_result

        return save_result(self, Path(folder), overwrite=overwrite)
