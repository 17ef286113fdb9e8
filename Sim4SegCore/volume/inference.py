"""A volume and a query go in, one result for the volume comes out; here slice by slice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ..case import Query
from ..errors import Sim4SegError
from ..frame import Frame
from ..progress import Progress, Step
from .case import VolumeCase
from .cleaning import clean
from .concluding import LOOKED, Concluder, FoundMask, Stopwatch
from .consistency import followed_slices, smooth_along_stack, smooth_masks
from .looking import Looked, SliceLooker
from .options import SliceOptions
from .plane_voting import looks_along_all, segment_planes
from .result import Cleaning, VolumeResult
from .slice_view import view_slices
from .slices import SlicePictures
from .windows import choose_window

if TYPE_CHECKING:
    from ..predictor import Sim4Seg

_RESTORED_AT_ONCE = 8


def segment_volume(
    predictor: Sim4Seg, case: VolumeCase, query: str, options: SliceOptions | None = None
) -> VolumeResult:
    """Answer one query about a volume, in the mode that the options name.

    Reports to `predictor.progress` between batches; what that raises ends the work, and
    `StopAndKeepError` ends it with a result of what was looked at. The image that was set before
    is set again afterwards, unless the model had to move to the CPU.

    Raises:
        Sim4SegError: if the query is empty or too long, the axis unknown, the model has no
            network for the mode or says [SEG] after its reasoning, or memory is too small.
    """
    checked, options = Query(query), options or SliceOptions()
    if predictor.model.config.seg_after_reasoning:
        raise Sim4SegError("this model says [SEG] after its reasoning: it cannot read volumes")
    kept_image, listener = predictor.encoded, predictor.progress
    device = predictor.model.device
    try:
        if options.mode == "volume":
            from .volumetric import segment_windows

            return segment_windows(predictor, case, checked, options, listener)
        if looks_along_all(case, options):
            return segment_planes(predictor, case, checked, options, listener)
        return segment_slices(predictor, case, checked, options, listener)
    finally:
        predictor.progress = listener
        # What was computed on a GPU that ran out of memory is of no use on the CPU.
        predictor.encoded = kept_image if predictor.model.device == device else None


def segment_slices(
    predictor: Sim4Seg, case: VolumeCase, query: Query, options: SliceOptions, listener: Progress
) -> VolumeResult:
    """Every slice on its own, then made to agree with its neighbours; see `segment_volume`."""
    view = view_slices(case.geometry, case.shape, options.axis)
    window, watch = choose_window(case, query.text), Stopwatch()
    pictures = SlicePictures(case, view, window)
    looker = SliceLooker(
        predictor,
        pictures,
        query.text,
        lambda fraction: listener(Step("mask", LOOKED * fraction)),
        options.batch,
    )
    looked = watch.measure("slices", lambda: looker.look(options.scouts))
    presence = smooth_along_stack(looked.presence, looked.is_seen, view.spacing[0])
    mask, cleaning = watch.measure("masks", lambda: _mask(predictor, looked, presence, pictures))
    stopped = None
    if looked.was_stopped:
        stopped = f"{len(looked.seen)} of {len(looked.worth_looking)} slices were looked at"
    found = FoundMask(
        mask=mask,
        cleaning=cleaning,
        presence=looked.known_presence,
        interpolated=looked.interpolated,
        confidence=float(presence.max()),
        familiarity=looker.familiarity,
        stopped=stopped,
        warnings=tuple(looked.warnings),
    )
    return Concluder(predictor, case, query, options, view, window, listener).conclude(found, watch)


def _mask(
    predictor: Sim4Seg, looked: Looked, presence: torch.Tensor, pictures: SlicePictures
) -> tuple[NDArray[np.bool_], Cleaning]:
    """bool (k, j, i) on the volume's own voxels."""
    config = predictor.model.config
    logits = smooth_masks(
        looked.mask_logits, looked.is_drawn, looked.is_seen, pictures.view.spacing[0]
    )
    least = config.mask_threshold_logit
    taken = followed_slices(presence, logits > least, config.presence_threshold)
    frame = pictures.frame(config.segmenter.image_size)
    mask = np.zeros(pictures.shape, dtype=bool)
    _paint(pictures.view.of(mask), logits, taken.nonzero()[:, 0], frame, least)
    return mask, clean(mask)


def _paint(
    target: NDArray[np.bool_],
    logits: torch.Tensor,
    numbers: torch.Tensor,
    frame: Frame,
    least: float,
) -> None:
    """Masks of some slices onto their own pixels, a few at a time.

    Args:
        target: bool (N, H, W), written to.
        logits: (N, P, P) in the frame.
        least: logit above which a pixel belongs to the mask.
    """
    for part in numbers.split(_RESTORED_AT_ONCE):
        target[part.numpy()] = frame.invert_above(logits[part, None], least)[:, 0].numpy()
