"""Volumetric inference: the [SEG] state of a few slices queries the scan in three dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..case import Query
from ..errors import Sim4SegError
from ..modeling.volumetric import VolumetricNetwork
from ..progress import Progress, Step, StopAndKeepError
from .case import VolumeCase
from .cleaning import clean
from .concluding import LOOKED, UNNAMED_TARGET, Concluder, FoundMask, Stopwatch
from .looking import SliceLooker
from .options import SliceOptions
from .result import VolumeResult
from .slice_view import view_slices
from .slices import SlicePictures
from .window_looking import Seen, WindowLooker
from .windows import choose_window, volumetric_window

if TYPE_CHECKING:
    from ..predictor import Sim4Seg


def segment_windows(
    predictor: Sim4Seg, case: VolumeCase, query: Query, options: SliceOptions, listener: Progress
) -> VolumeResult:
    """All windows of a scan, blended; see `inference.segment_volume`."""
    network = _network_of(predictor)
    if case.is_colour:
        raise Sim4SegError("--mode volume needs a grey volume; use --mode slices")
    _check_modality(network, case)
    view, watch = view_slices(case.geometry, case.shape, options.axis), Stopwatch()
    shown = choose_window(case, query.text)

    def report(fraction: float) -> None:
        listener(Step("mask", LOOKED * fraction))

    pictures = SlicePictures(case, view, shown)
    scout = SliceLooker(predictor, pictures, query.text, report, options.batch)
    target, asked = watch.measure(
        "query",
        lambda: _read_query(scout, network, query, options.scouts, pictures.worth_looking()),
    )
    looker = WindowLooker(
        predictor, network, case, volumetric_window(case, shown), report, options.batch
    )
    seen = watch.measure("windows", lambda: looker.look(asked))
    cleaning = watch.measure("masks", lambda: clean(seen.mask))
    warnings = [*scout.warnings, *looker.room.warnings]
    if target is None and asked is not None:
        warnings.append(
            f"the volumetric network was taught {_listed(network.config.targets)}; the query "
            "seems to ask for something else"
        )
    found = FoundMask(
        mask=seen.mask,
        cleaning=cleaning,
        presence=looker.grid.onto(view, seen.along).astype(np.float64),
        confidence=seen.presence,
        familiarity=scout.familiarity,
        label=target or UNNAMED_TARGET,
        stopped=_how_far(seen),
        warnings=tuple(warnings),
    )
    return Concluder(predictor, case, query, options, view, shown, listener).conclude(found, watch)


def _network_of(predictor: Sim4Seg) -> VolumetricNetwork:
    model = predictor.model
    if model.volumetric is None:
        raise Sim4SegError(
            f"the model {predictor.identity.name} has no volumetric network; use --mode slices"
        )
    return model.volumetric.network(model)


def _check_modality(network: VolumetricNetwork, case: VolumeCase) -> None:
    """A network answers with confidence about scans of a kind that it never saw."""
    taught, found = network.config.modality, case.apparent_modality
    if taught and found not in (None, taught):
        raise Sim4SegError(
            f"the volumetric network was taught {taught} scans and this is {found}; "
            "use --mode slices, or a checkpoint with a network for it"
        )


def _read_query(
    scout: SliceLooker, network: VolumetricNetwork, query: Query, count: int, among: list[int]
) -> tuple[str | None, Tensor | None]:
    """What a few slices together take the query for: the target, and the query (Q,) that was
    learned for it; no query if it was stopped.
    """
    try:
        states, _ = scout.scout(count, among)
    except StopAndKeepError:
        return None, None
    with torch.inference_mode():
        words = scout.lvlm.word_embeddings(query.text).to(network.prototypes)
        states = states.to(network.prototypes)
        return network.meant(network.reader(states, words.expand(len(states), -1, -1)).mean(0))


def _how_far(seen: Seen) -> str | None:
    return f"{seen.done} of {seen.count} windows were looked at" if seen.was_stopped else None


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
