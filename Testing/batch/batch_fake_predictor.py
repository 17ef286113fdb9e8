"""A predictor whose answers depend on pixels and query alone; run as a script, a whole batch.

    python Testing/batch/batch_fake_predictor.py STUDIES -o OUT …    with FAKE_SECONDS per answer

A query with "explode" raises about images whose name starts with b. What is asked whether it is
familiar is so unless its name starts with a. Of volumes the mask is what is brighter than the mean,
and the key slice is where there is most of it.
"""

import argparse
import hashlib
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from Sim4SegCore.batch.command import add_batch_arguments, run_batch_command
from Sim4SegCore.case import (
    Diagnosis,
    Familiarity,
    Finding,
    ModelIdentity,
    Query,
    Result,
    SampledAnswer,
    Samples,
)
from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.measurements import measure
from Sim4SegCore.scaling_config import ScalingConfig
from Sim4SegCore.volume import KeySlice, SliceScore, VolumeResult
from Sim4SegCore.volume.measuring import measure_volume
from Sim4SegCore.volume.result import Cleaning
from Sim4SegCore.volume.slice_view import view_slices
from Sim4SegCore.volume.windows import choose_window


class FakePredictor:
    def __init__(self, sha256="fake", seconds=0.0):
        self.identity = ModelIdentity("fake-model", sha256, "1")
        self.model = SimpleNamespace(config=SimpleNamespace(scaling=ScalingConfig(masks=2)))
        self.seconds = seconds
        self.encoded = []
        self.asked = []
        self._case = None

    def set_image(self, case):
        self._case = case
        self.encoded.append(case.source.name)

    def ask(self, query, scaling=None):
        time.sleep(self.seconds)
        self.asked.append((self._case.source.name, query))
        if "explode" in query and self._case.source.name.startswith("b"):
            raise RuntimeError("PatientName Doe^Jane")
        pixels = self._case.image if self._case.image.ndim == 2 else self._case.image[..., 0]
        digest = hashlib.sha256(pixels.tobytes() + query.encode()).digest()
        mask = pixels > np.quantile(pixels, 0.5 + digest[0] / 600)
        finding = Finding("lesion", True, digest[1] / 255, mask, measure(mask, self._case))
        return Result(
            case=self._case,
            query=Query(query),
            diagnosis=Diagnosis("nevus", digest[2] / 255, (("melanoma", digest[3] / 255),)),
            reasoning="because",
            findings=(finding,),
            similarity=np.full(self._case.size, 0.25, np.float32),
            model=self.identity,
            samples=samples(scaling or self.model.config.scaling),
            familiarity=familiarity(self._case, query),
        )

    def segment_volume(self, volume, query, options):
        self.asked.append((volume.source.name, query))
        view = view_slices(volume.geometry, volume.shape, options.axis)
        mask = volume.voxels > volume.voxels.mean()
        areas = [float(plane.sum()) for plane in np.moveaxis(mask, view.axes[0], 0)]
        diagnosis = Diagnosis("glioma", 0.75)
        key = KeySlice(int(np.argmax(areas)), "largest", 1.0, diagnosis, "because")
        return VolumeResult(
            case=volume,
            query=Query(query),
            diagnosis=diagnosis,
            reasoning="because",
            findings=(Finding("tumor", True, 0.5, mask, measure_volume(mask, volume, 1)),),
            model=self.identity,
            view=view,
            window=choose_window(volume, query),
            slices=tuple(SliceScore(k, 0.5, area) for k, area in enumerate(areas)),
            key_slices=(key,),
            cleaning=Cleaning(parts=1),
            mode=options.mode,
            familiarity=familiarity(volume, query),
        )


def familiarity(case, query):
    """Unknown unless it is asked for."""
    if "familiar" not in query:
        return None
    return Familiarity(2.0 if case.source.name.startswith("a") else 0.5, 1.0)


def samples(scaling):
    """One entry for each sampled answer, which tells how it was asked for."""
    said = f"masks {scaling.masks}, seed {scaling.seed}"
    return Samples(tuple(SampledAnswer("nevus", -0.5, said) for _ in range(scaling.samples)))


def main():
    parser = argparse.ArgumentParser()
    add_batch_arguments(parser)
    seconds = float(os.environ.get("FAKE_SECONDS", "0"))
    try:
        return run_batch_command(
            parser.parse_args(),
            lambda model, device: FakePredictor(model or "fake", seconds),
            identify_model=lambda model: FakePredictor(model or "fake").identity,
        )
    except Sim4SegError as error:
        print(f"sim4seg: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
