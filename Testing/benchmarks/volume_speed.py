"""Slices per second of a volume with the embedded model, against named baselines in one run.

    python Testing/benchmarks/volume_speed.py [--slices 60] [--side 512] [--distance 2]
        [--mode slices] [--memory]

Baselines of mode `slices`: `one by one` answers every slice as `sim4seg segment --slice` would,
with everything loaded; `SliceInferer` is MONAI's around the same network with a [SEG] state that
is given, so that it does only part of our work. Baseline of mode `volume`: MONAI's
`SlidingWindowInferer` around the same network, with windows, overlap and weights as ours, a query
that is given, and the whole scan in memory; voxels are 1 mm, so that neither has to resample.
`--memory` instead measures how far resident memory rises above the volume itself. Prints seconds
and ratios; asserts nothing. Seconds are of CPU time on one thread, so that a busy machine gives
the same ratios.
"""

from __future__ import annotations

import argparse
import dataclasses
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from monai.inferers import SliceInferer, SlidingWindowInferer
from torch import Tensor

from Sim4SegCore import Geometry, Sim4Seg
from Sim4SegCore.frame import Frame
from Sim4SegCore.modeling.precision import fast_precision
from Sim4SegCore.volume import SliceOptions, VolumeCase, VolumeResult
from Sim4SegCore.volume.grounding import SliceGrounder
from Sim4SegCore.volume.looking import CPU_BATCH
from Sim4SegCore.volume.options import MODES
from Sim4SegCore.volume.slice_view import view_slices
from Sim4SegCore.volume.slices import SlicePictures
from Sim4SegCore.volume.window_looking import CPU_BATCH as WINDOW_BATCH
from Sim4SegCore.volume.window_looking import WindowLooker
from Sim4SegCore.volume.windows import choose_window, volumetric_window

CLOCK = time.process_time
QUERY = "Is there a tumor? Segment it and tell me what it is."
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
CUBES = Geometry((1.0, 1.0, 1.0), (0.0,) * 3, IDENTITY)


def drawn_head(slices: int, side: int, distance: float = 2.0) -> VolumeCase:
    """An ellipsoid with a bright ball inside, int16; `distance` in mm between slices."""
    rows, columns = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j].astype(np.float32)
    voxels = np.zeros((slices, side, side), np.int16)
    noise = np.random.default_rng(0).integers(0, 60, (side, side), dtype=np.int16)
    for k, height in enumerate(np.linspace(-1, 1, slices)):
        head = (rows / 0.85) ** 2 + (columns / 0.7) ** 2 + height**2 < 1
        ball = (rows - 0.2) ** 2 + (columns - 0.25) ** 2 + height**2 < 0.05
        voxels[k] = head * 350 + ball * 400 + np.roll(noise, 7 * k)
    geometry = Geometry((0.5, 0.5, distance), (0.0,) * 3, IDENTITY)
    return VolumeCase(voxels, geometry, modality="MR")


def run_slices(predictor: Sim4Seg, case: VolumeCase) -> tuple[float, VolumeResult]:
    """Seconds of a whole answer in batches."""
    started = CLOCK()
    result = predictor.segment_volume(case, QUERY)
    return CLOCK() - started, result


def run_one_by_one(predictor: Sim4Seg, case: VolumeCase, count: int) -> float:
    """Seconds per slice, over `count` slices."""
    pictures = pictures_of(case)
    numbers = np.linspace(0, len(pictures) - 1, count).astype(int)
    started = CLOCK()
    for number in numbers:
        predictor.segment(pictures.case(int(number)), QUERY)
    return (CLOCK() - started) / count


def pictures_of(case: VolumeCase) -> SlicePictures:
    view = view_slices(case.geometry, case.shape)
    return SlicePictures(case, view, choose_window(case, QUERY))


class GroundedSlices(torch.nn.Module):
    """The network as MONAI wants it: windowed slices (B, 1, H, W) to logits (B, 1, H, W)."""

    def __init__(self, predictor: Sim4Seg, case: VolumeCase) -> None:
        super().__init__()
        pictures = pictures_of(case)
        self.grounder = SliceGrounder(predictor.model, pictures, QUERY)
        self.frame = pictures.frame(predictor.model.config.segmenter.image_size)
        self.seg_state = self.grounder.scout([len(pictures) // 2]).seg_states[0]

    def forward(self, images: Tensor) -> Tensor:
        self.grounder.pictures = _Given(images, self.grounder.pictures)
        numbers = range(len(images))
        reading = self.grounder.read(numbers, self.seg_state)
        masks = self.grounder.draw(numbers, self.seg_state, reading.similarity)
        return self.frame.invert(masks[:, None].float())


class _Given(SlicePictures):
    """Slices that were cut out by somebody else."""

    def __init__(self, images: Tensor, like: SlicePictures) -> None:
        self._images = images
        self.size = like.size
        self.view = like.view
        self.modality = like.modality

    def _shown(self, number: int) -> np.ndarray:
        return self._images[number, 0].to(torch.uint8).numpy()


def run_slice_inferer(predictor: Sim4Seg, case: VolumeCase) -> float:
    """Seconds of MONAI's inferer over the windowed volume, thresholded at the end."""
    network = GroundedSlices(predictor, case)
    started = CLOCK()
    window = choose_window(case, QUERY)
    volume = torch.from_numpy(np.stack([window.to_uint8(plane) for plane in case.voxels]))
    side = case.shape[1]
    inferer = SliceInferer(roi_size=(side, side), sw_batch_size=CPU_BATCH, spatial_dim=0)
    with torch.inference_mode():
        logits = inferer(volume[None, None].float(), network)
    assert isinstance(logits, Tensor)
    _ = (logits[0, 0] > 0).numpy()
    return CLOCK() - started


def run_saving(result: VolumeResult) -> float:
    """Seconds of writing the mask, without pictures."""
    from Sim4SegCore.io import write_volume_mask

    with tempfile.TemporaryDirectory() as folder:
        started = CLOCK()
        write_volume_mask(result.mask, result.case.geometry, Path(folder) / "mask.nii.gz")
        return CLOCK() - started


class FramingClock:
    """Seconds that windowing and resizing of slices for the model take while it is entered."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> FramingClock:
        self._framed = SlicePictures.framed

        def timed(pictures: SlicePictures, numbers: Sequence[int], frame: Frame) -> Tensor:
            started = CLOCK()
            framed = self._framed(pictures, numbers, frame)
            self.seconds += CLOCK() - started
            return framed

        SlicePictures.framed = timed  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        SlicePictures.framed = self._framed  # type: ignore[method-assign]


def peak_gigabytes() -> float:
    """Highest resident memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def compare(slices: int, side: int, distance: float) -> None:
    predictor = Sim4Seg.from_pretrained(device="cpu")
    case = drawn_head(slices, side, distance)
    run_saving(predictor.segment_volume(drawn_head(40, side), QUERY))  # all is loaded from here on
    with FramingClock() as framing:
        seconds, result = run_slices(predictor, case)
    print(
        f"{slices} slices of {side}x{side}, {distance:g} mm apart: {seconds:.2f} s, "
        f"{slices / seconds:.1f} slices/s"
    )
    print("  by stage: " + ", ".join(f"{name} {s:.2f} s" for name, s in result.timing.items()))
    alone = run_one_by_one(predictor, case, min(slices, 12))
    print(f"one by one: {1 / alone:.1f} slices/s; batched is {alone * slices / seconds:.1f} x")
    inferer = run_slice_inferer(predictor, case)
    print(f"SliceInferer: {inferer:.2f} s; ours takes {seconds / inferer:.2f} x of it")
    handled = framing.seconds + result.timing["masks"] + run_saving(result)
    print(f"resampling, masks and export: {handled:.2f} s, {handled / seconds:.0%} of inference")


def run_sliding_windows(predictor: Sim4Seg, case: VolumeCase, query: Tensor) -> float:
    """Seconds of MONAI's inferer over the scan, thresholded at the end."""
    assert predictor.model.volumetric is not None
    network = predictor.model.volumetric.network(predictor.model)
    config = network.config
    inferer = SlidingWindowInferer(
        roi_size=config.window, sw_batch_size=WINDOW_BATCH, overlap=config.overlap, mode="gaussian"
    )

    def probabilities(windows: Tensor) -> Tensor:
        drawn = network(windows, query.expand(len(windows), -1))
        return drawn.mask_logits[:, None].float().sigmoid()

    started = CLOCK()
    window = volumetric_window(case, choose_window(case, QUERY))
    scan = torch.from_numpy(case.voxels.astype(np.float32))
    scan = ((scan - window.low) / (window.high - window.low) * 2 - 1).clamp(-1, 1)
    with torch.inference_mode(), fast_precision(network.prototypes):
        blended = inferer(scan[None, None], probabilities)
    assert isinstance(blended, Tensor)
    _ = (blended[0, 0] > config.mask_threshold).numpy()
    return CLOCK() - started


def compare_windows(slices: int, side: int) -> None:
    predictor = Sim4Seg.from_pretrained(device="cpu")
    options = SliceOptions(mode="volume")
    case = dataclasses.replace(drawn_head(slices, side), geometry=CUBES)
    predictor.segment_volume(
        dataclasses.replace(drawn_head(16, 32), geometry=CUBES), QUERY, options
    )
    started = CLOCK()
    result = predictor.segment_volume(case, QUERY, options)
    seconds = CLOCK() - started
    print(f"{slices} x {side} x {side} voxels of 1 mm: {seconds:.2f} s with the answer")
    print("  by stage: " + ", ".join(f"{name} {s:.2f} s" for name, s in result.timing.items()))
    assert predictor.model.volumetric is not None
    network = predictor.model.volumetric.network(predictor.model)
    query = torch.nn.functional.normalize(network.prototypes[:1], dim=1)
    inferer = run_sliding_windows(predictor, case, query)
    alone = WindowLooker(
        predictor,
        network,
        case,
        volumetric_window(case, choose_window(case, QUERY)),
        lambda fraction: None,
    )
    started = CLOCK()
    alone.look(query[0])
    windows = CLOCK() - started
    print(
        f"SlidingWindowInferer: {inferer:.2f} s; our windows take {windows / inferer:.2f} x of it,"
    )
    print(f"  and everything with query and answer {seconds / inferer:.2f} x")


def measure_memory(slices: int, side: int, mode: str) -> None:
    predictor = Sim4Seg.from_pretrained(device="cpu")
    predictor.segment_volume(drawn_head(4, 64), QUERY, SliceOptions(mode=mode))
    case = drawn_head(slices, side)
    before, volume = peak_gigabytes(), case.voxels.nbytes / 1024**3
    result = predictor.segment_volume(case, QUERY, SliceOptions(mode=mode))
    with tempfile.TemporaryDirectory() as folder:
        result.save(Path(folder) / "out")
    print(
        f"volume {volume:.2f} GiB; model and volume {before:.2f} GiB; peak {peak_gigabytes():.2f}"
    )
    print(f"on top of the volume: {peak_gigabytes() - volume:.2f} GiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=60)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--distance", type=float, default=2.0, help="mm between slices")
    parser.add_argument("--mode", default="slices", choices=MODES)
    parser.add_argument("--memory", action="store_true", help="measure memory instead of time")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.memory:
        measure_memory(options.slices, options.side, options.mode)
    elif options.mode == "volume":
        compare_windows(options.slices, options.side)
    else:
        compare(options.slices, options.side, options.distance)


if __name__ == "__main__":
    main()
