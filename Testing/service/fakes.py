"""A predictor without a model: fast, and its answers prove which image and query they are about."""

import dataclasses
import threading
import time
from collections.abc import Callable

import numpy as np

from Sim4SegCore import Case, Diagnosis, Finding, ModelIdentity, Query, Result
from Sim4SegCore.measurements import measure
from Sim4SegCore.progress import Step


def ignore(step: Step) -> None:
    """Nobody listens."""


@dataclasses.dataclass
class FakePredictor:
    """Marks pixels above the mean; the reasoning repeats the query and the sum of the pixels."""

    seconds: float = 0.0
    steps: int = 4
    name: str = "fake"
    fails: Callable[[Case, str], None] | None = None
    encodings: int = 0
    progress: Callable[[Step], None] = ignore
    encoded: Case | None = None
    thread_ids: set[int] = dataclasses.field(default_factory=set)
    answered: list[str] = dataclasses.field(default_factory=list)

    def set_image(self, image: Case) -> None:
        self.encodings += 1
        self.progress(Step("encode", 0.0))
        self.encoded = image

    def ask(self, query: str) -> Result:
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
        )


def picture(seed: int = 0, size: tuple[int, int] = (24, 32)) -> Case:
    """A made-up grey image."""
    pixels = np.random.default_rng(seed).integers(0, 255, size, dtype=np.uint8)
    return Case(pixels)
