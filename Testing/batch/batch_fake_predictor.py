"""A predictor whose answers depend on pixels and query alone; run as a script, a whole batch.

    python Testing/batch/batch_fake_predictor.py STUDIES -o OUT …    with FAKE_SECONDS per answer

A query with "explode" raises about images whose name starts with b.
"""

import argparse
import hashlib
import os
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from Sim4SegCore.batch.command import add_batch_arguments, run_batch_command
from Sim4SegCore.case import Diagnosis, Finding, ModelIdentity, Query, Result
from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.measurements import measure


class FakePredictor:
    def __init__(self, sha256="fake", seconds=0.0):
        self.identity = ModelIdentity("fake-model", sha256, "1")
        self.seconds = seconds
        self.encoded = []
        self.asked = []
        self._case = None

    def set_image(self, case):
        self._case = case
        self.encoded.append(case.source.name)

    def ask(self, query):
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
        )


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
