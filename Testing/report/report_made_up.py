"""Results whose every number is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from Sim4SegCore.case import (
    Case,
    CheckedClaim,
    Diagnosis,
    Finding,
    Geometry,
    ModelIdentity,
    Query,
    Result,
    SampledAnswer,
    Samples,
)
from Sim4SegCore.measurements import measure

FLAT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
AXIAL = Geometry((0.5, 0.5, 3.0), (-40.0, -60.0, 900.0), FLAT)
CORONAL = Geometry((0.5, 0.5, 3.0), (-40.0, 10.0, 900.0), (1.0, 0, 0, 0, 0, 1.0, 0, -1.0, 0))
RADIOLOGICAL_SAGITTAL = Geometry((1, 1, 1), (5, 6, 7), (0, 0, -1.0, 1.0, 0, 0, 0, -1.0, 0))
GLIOMA = Diagnosis("glioma", 0.72, (("meningioma", 0.2), ("no tumor", 0.08)))


def box(size: tuple[int, int], top: int, left: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top : top + height, left : left + width] = True
    return mask


def sampled(*labels: str | None) -> Samples:
    return Samples(tuple(SampledAnswer(label, -0.5, "Bright.") for label in labels))


@dataclass
class MadeUp:
    """What a result is made of; the image is grey and bright where the first mask is."""

    masks: dict[str, np.ndarray] | list[tuple[str, np.ndarray]] = field(
        default_factory=lambda: {"tumor": box((120, 160), 20, 100, 20, 30)}
    )
    size: tuple[int, int] = (120, 160)
    geometry: Geometry | None = None
    modality: str | None = None
    diagnosis: Diagnosis = GLIOMA
    query: str = "Is there a tumor?"
    claims: tuple[CheckedClaim, ...] = ()
    warnings: tuple[str, ...] = ()
    samples: Samples = field(default_factory=Samples)
    source: Path | None = None
    case: Case | None = None

    def result(self) -> Result:
        named = list(self.masks.items() if isinstance(self.masks, dict) else self.masks)
        case = self.case or self._case([mask for _, mask in named])
        return Result(
            case=case,
            query=Query(self.query),
            diagnosis=self.diagnosis,
            reasoning="Bright and round.",
            findings=tuple(
                Finding(name, bool(mask.any()), 0.9, mask, measure(mask, case))
                for name, mask in named
            ),
            similarity=np.linspace(0, 1, case.size[0] * case.size[1], dtype=np.float32).reshape(
                case.size
            ),
            model=ModelIdentity("tiny", "ab" * 32, "r1"),
            warnings=self.warnings,
            claims=self.claims,
            samples=self.samples,
        )

    def _case(self, masks: list[np.ndarray]) -> Case:
        rows = np.arange(self.size[0])[:, np.newaxis]
        image = np.broadcast_to(50 + rows % 2, self.size).astype(np.int16)
        for mask in masks[:1]:
            image = np.where(mask, image + 100, image)
        return Case(image, self.geometry, self.source, self.modality)
