"""`sim4seg segment SCAN "QUERY" --mode slices|volume -o OUT`: ask a volume."""

from __future__ import annotations

import argparse
import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator

from ..case import Query
from ..errors import Sim4SegError
from ..progress import Step, StopAndKeepError
from ..volume import SliceOptions, VolumeResult
from ..volume.measuring import millilitres
from ..volume.options import MODES
from ..volume.slice_view import AXIS_CHOICES

IMAGE_MODE = "image"
ALL_MODES = (IMAGE_MODE, *MODES)
SCALING = ("samples", "masks", "choice", "seed")
"""Options of single images that volumes do not have."""
SECONDS_BETWEEN_REPORTS = 5.0

_Say = Callable[[str], None]


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sim4seg segment` that are about volumes."""
    parser.add_argument(
        "--mode",
        default=IMAGE_MODE,
        help="image: one picture or slice (default); slices: every slice of a volume; "
        "volume: a volume in three dimensions, for what the model's volumetric network knows",
    )
    parser.add_argument(
        "--axis",
        help=f"of volumes, along which axis slices lie: {', '.join(AXIS_CHOICES)} "
        "(default: auto, the coarsest spacing; small volumes of even spacing are looked at along "
        "all three)",
    )
    parser.add_argument(
        "--series", type=int, help="of volumes, which series of a DICOM folder, from 1"
    )
    parser.add_argument(
        "--keep-partial",
        action="store_true",
        help="of volumes, Ctrl-C writes what was found so far",
    )


def check(options: argparse.Namespace) -> None:
    """Refuse what does not go together, before anything is loaded.

    Raises:
        Sim4SegError: on an unknown mode or axis, or an option of the other mode.
    """
    if options.mode not in ALL_MODES:
        raise Sim4SegError(f"unknown mode '{options.mode}'; use {', '.join(ALL_MODES)}")
    if options.mode != IMAGE_MODE:
        if options.slice is not None:
            raise Sim4SegError(f"--mode {options.mode} looks at every slice; leave --slice out")
        for name in SCALING:
            if getattr(options, name) is not None:
                raise Sim4SegError(
                    f"--{name} is about single images; leave it out with --mode {options.mode}"
                )
        if options.axis not in (None, *AXIS_CHOICES):
            raise Sim4SegError(f"unknown axis '{options.axis}'; use {', '.join(AXIS_CHOICES)}")
        return
    asked = {
        "--axis": options.axis is not None,
        "--series": options.series is not None,
        "--keep-partial": options.keep_partial,
    }
    for flag, is_asked in asked.items():
        if is_asked:
            raise Sim4SegError(f"{flag} is about volumes; add --mode {' or '.join(MODES)}")


def answer(options: argparse.Namespace, query: Query, say: _Say) -> VolumeResult:
    """Read the volume, load the model and ask."""
    from ..io import read_volume_case

    case = read_volume_case(options.image, series=options.series)
    say("loading the model")
    from ..predictor import Sim4Seg

    predictor = Sim4Seg.from_pretrained(options.model, device=options.device, notify=say)
    say(f"looking at {' x '.join(map(str, case.shape[::-1]))} voxels")
    reporter = _Reporter(say)
    predictor.progress = reporter
    with _ctrl_c_keeps(reporter) if options.keep_partial else contextlib.nullcontext():
        return predictor.segment_volume(
            case,
            query.text,
            SliceOptions(axis=options.axis or SliceOptions.axis, mode=options.mode),
        )


def rows(result: VolumeResult) -> list[tuple[str, str]]:
    """What was found and where, as labelled lines."""
    lines = []
    for finding in result.findings:
        state = "found" if finding.present else "not found"
        lines.append(("Finding", f"{finding.label}: {state} (presence {finding.confidence:.0%})"))
        if finding.present and result.slice_range is not None:
            first, last = result.slice_range
            sizes = finding.measurements
            lines.append(
                (
                    "Size",
                    f"{millilitres(finding)}, longest diameter "
                    f"{sizes['longest_diameter_mm']:.3g} mm, {result.view.plane} slices "
                    f"{result.view.index_axis} = {first} to {last}",
                )
            )
    keys = ", ".join(f"{key.index} ({key.reason})" for key in result.key_slices)
    lines.append(("Answered", f"on slices {keys}" if keys else "on no slice"))
    return lines


class _Reporter:
    """Says now and then how far it is and how long it will take."""

    def __init__(self, say: _Say) -> None:
        self._say = say
        self._started = self._said = time.monotonic()
        self.should_stop = False

    def __call__(self, step: Step) -> None:
        if self.should_stop:
            raise StopAndKeepError
        now = time.monotonic()
        if step.fraction > 0 and now - self._said >= SECONDS_BETWEEN_REPORTS:
            self._said = now
            left = (now - self._started) * (1 - step.fraction) / step.fraction
            self._say(f"{step.fraction:.0%} done, about {left:.0f} s left")


@contextlib.contextmanager
def _ctrl_c_keeps(reporter: _Reporter) -> Iterator[None]:
    """The first Ctrl-C ends the work with what there is, the second one at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def stop(number: int, frame: object) -> None:
        reporter.should_stop = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
