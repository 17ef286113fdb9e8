"""A predictor without a model: fast, and its answers prove which image and query they are about."""

import dataclasses
import threading
import time
from collections.abc import Callable

import numpy as np

from Sim4SegCore import Case, Diagnosis, Finding, Geometry, ModelIdentity, Query, Result
from Sim4SegCore.case import Familiarity, MaskCandidate, SampledAnswer, Samples
from Sim4SegCore.measurements import measure
from Sim4SegCore.progress import Step
from Sim4SegCore.scaling_config import ScalingConfig
from Sim4SegCore.volume import KeySlice, SliceOptions, SliceScore, VolumeCase, VolumeResult
from Sim4SegCore.volume.measuring import measure_volume
from Sim4SegCore.volume.result import Cleaning
from Sim4SegCore.volume.slice_view import view_slices
from Sim4SegCore.volume.windows import choose_window


def ignore(step: Step) -> None:
    """Nobody listens."""


@dataclasses.dataclass
class FakePredictor:
    """Marks pixels above the mean; the reasoning repeats the query and the sum of the pixels.

    Sampled answers tell their seed, candidate masks their number.
    """

    scaling: ScalingConfig = dataclasses.field(default_factory=ScalingConfig)
    seconds: float = 0.0
    steps: int = 4
    name: str = "fake"
    fails: Callable[[Case, str], None] | None = None
    familiarity: Familiarity | None = None
    encodings: int = 0
    progress: Callable[[Step], None] = ignore
    encoded: Case | None = None
    thread_ids: set[int] = dataclasses.field(default_factory=set)
    answered: list[str] = dataclasses.field(default_factory=list)

    def set_image(self, image: Case) -> None:
        self.encodings += 1
        self.progress(Step("encode", 0.0))
        self.encoded = image

    def ask(self, query: str, scaling: ScalingConfig | None = None) -> Result:
        case = self.encoded
        assert case is not None
        self.thread_ids.add(threading.get_ident())
        grey = case.image if case.image.ndim == 2 else case.image.mean(-1)
        mask = grey > grey.mean()
        for step in range(self.steps):
            self.progress(Step("answer", step / self.steps, mask if step else None))
            time.sleep(self.seconds / self.steps)
        if self.fails is not None:
            self.fails(case, query)
        self.answered.append(query)
        label = f"{query} {float(case.image.sum(dtype=np.float64)):.0f}"
        return Result(
            case=case,
            query=Query(query),
            diagnosis=Diagnosis(label, 0.75, (("other", 0.25),)),
            reasoning=label,
            findings=(Finding("bright", True, 0.9, mask, measure(mask, case)),),
            similarity=(grey / max(1.0, float(grey.max()))).astype(np.float32),
            model=ModelIdentity(self.name, "00", "1"),
            timing={"encode": 0.0, "answer": self.seconds, "mask": 0.0},
            samples=samples(mask, scaling or self.scaling),
            familiarity=self.familiarity,
        )

    def segment_volume(
        self, volume: VolumeCase, query: str, options: SliceOptions | None = None
    ) -> VolumeResult:
        options = options or SliceOptions()
        view = view_slices(volume.geometry, volume.shape, options.axis)
        for number in range(view.count):
            self.progress(Step("mask", 0.8 * number / view.count))
            time.sleep(self.seconds / view.count)
        self.progress(Step("answer", 0.9))
        self.answered.append(query)
        mask = volume.voxels > volume.voxels.mean()
        label = f"{query} {float(volume.voxels.sum(dtype=np.float64)):.0f}"
        diagnosis = Diagnosis(label, 0.75, (("other", 0.25),))
        areas = [float(plane.sum()) for plane in view.of(mask)]
        return VolumeResult(
            case=volume,
            query=Query(query),
            diagnosis=diagnosis,
            reasoning=f"{label}, in {options.mode}",
            findings=(Finding("bright", True, 0.9, mask, measure_volume(mask, volume, 1)),),
            model=ModelIdentity(self.name, "00", "1"),
            view=view,
            window=choose_window(volume, query),
            slices=tuple(
                SliceScore(number, 0.5, areas[view.index(number)]) for number in range(view.count)
            ),
            key_slices=tuple(
                KeySlice(number, "fake", 1 / options.key_slices, diagnosis, label)
                for number in range(options.key_slices)
            ),
            cleaning=Cleaning(islands_removed=1, parts=1),
            mode=options.mode,
            planes=("axial", "coronal"),
            timing={"slices": self.seconds},
            warnings=volume.warnings,
            familiarity=self.familiarity,
        )


def samples(mask: np.ndarray, scaling: ScalingConfig) -> Samples:
    """What a predictor with these numbers of answers and masks combines."""
    if scaling.samples == scaling.masks == 1:
        return Samples()
    return Samples(
        tuple(
            SampledAnswer("other", -0.5, f"seed {scaling.seed}, answer {number}")
            for number in range(scaling.samples)
        ),
        tuple(
            MaskCandidate(f"number {number}", np.roll(mask, number), 0.5)
            for number in range(scaling.masks)
        ),
    )


def scan(seed: int = 0, shape: tuple[int, int, int] = (6, 9, 12)) -> VolumeCase:
    """A made-up CT volume with thick, oblique slices."""
    voxels = np.random.default_rng(seed).integers(-900, 900, shape).astype(np.int16)
    cosines = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, -1.0)
    place = Geometry((0.5, 0.75, 3.0), (-20.0, 4.5, 100.0), cosines)
    return VolumeCase(voxels, place, modality="CT", body_part="head/neck", window=(40.0, 80.0))


def picture(seed: int = 0, size: tuple[int, int] = (24, 32)) -> Case:
    """A made-up grey image."""
    pixels = np.random.default_rng(seed).integers(0, 255, size, dtype=np.uint8)
    return Case(pixels)
