"""Whether an image is like those that the model was trained on, by its vision features.

A small network compares how training images and images that show something else (photographs,
noise, other modalities) are seen by the LVLM's vision tower: outlier exposure (Hendrycks et al.,
arXiv 1812.04606) on features that are computed anyway. Fitted by `training/run.py familiarity`.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from weakref import WeakSet

import torch
import torch.nn.functional as F
from torch import Tensor

from ..case import Familiarity
from ..errors import Sim4SegError
from ..frame import Frame, content_mask
from ..modalities import names_of
from .fingerprint import fingerprint
from .lvlm import LVLM, VisionOutput

SMALLEST_SIDE = 32
"""Images with a shorter side in pixels show too little to be judged."""
DARK, LEAST_SHOWN = 16, 0.1
"""A slice shows enough if this share of its pixels is brighter than that, of 255."""
MOST_SPREADS = 6.0
_TOLD_APART_BY = 1024


@dataclass(frozen=True)
class FamiliarityJudge:
    """A network of one hidden layer on standardised features, all float32 on the CPU.

    Attributes:
        mean: (F,) of the features of training images.
        spread: (F,) standard deviations.
        hidden: (H, F) weights.
        hidden_bias: (H,).
        output: (H,) weights.
        limit: distance above which an image is outside.
        fitted_to: `vision_fingerprint` of the LVLM that the features come from.
        taught: DICOM codes of the training images' modalities; empty if they are not known.
    """

    mean: Tensor
    spread: Tensor
    hidden: Tensor
    hidden_bias: Tensor
    output: Tensor
    limit: float
    fitted_to: str
    taught: tuple[str, ...] = ()
    # Weights take milliseconds to compare, as much as a tenth of a query.
    _known_to_fit: WeakSet[LVLM] = field(
        default_factory=WeakSet, init=False, repr=False, compare=False
    )

    def of(
        self,
        lvlm: LVLM,
        vision: VisionOutput,
        frames: Sequence[Frame],
        modality: str | None = None,
    ) -> list[Familiarity]:
        """Judge a batch.

        Args:
            lvlm: whose vision tower gave `vision`.
            vision: of B images.
            frames: how each of them lies in the tower's input.
            modality: DICOM code of all of them, if it is known.

        Raises:
            Sim4SegError: if this was fitted to another vision tower.
        """
        self.check_fits(lvlm)
        distances = self.distances(pooled_features(vision, frames))
        untaught = modality if self.is_untaught(modality) else None
        return [Familiarity(distance, self.limit, untaught) for distance in distances.tolist()]

    def is_untaught(self, modality: str | None) -> bool:
        """Whether a DICOM code says that an image is of a kind that was never trained on."""
        return bool(self.taught and names_of(modality)) and modality not in self.taught

    def check_fits(self, lvlm: LVLM) -> None:
        """Refuse another vision tower than this was fitted to.

        Raises:
            Sim4SegError: if this was fitted to another vision tower.
        """
        if lvlm in self._known_to_fit:
            return
        if self.fitted_to != vision_fingerprint(lvlm):
            raise Sim4SegError(
                "familiarity.safetensors of this checkpoint was fitted to other weights; "
                "run `python training/run.py familiarity`"
            )
        self._known_to_fit.add(lvlm)

    def distances(self, features: Tensor) -> Tensor:
        """(B, F) features to (B,) distances, 0 and above; near 0 for training images."""
        standard = standardised(features, self.mean, self.spread)
        hidden = F.linear(standard, self.hidden, self.hidden_bias).relu()
        return F.softplus(hidden @ self.output)


def standardised(features: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    """Features in spreads around the mean; what is further off than any sensible value is cut."""
    return ((features - mean) / spread).clamp(-MOST_SPREADS, MOST_SPREADS)


def pooled_features(vision: VisionOutput, frames: Sequence[Frame]) -> Tensor:
    """Mean and standard deviation of each channel over what shows the image, padding left out.

    Of every stage that the tower offers to a segmenter, else of the image tokens.

    Args:
        vision: of B images.
        frames: of the same images.

    Returns:
        float32 (B, F) on the CPU.
    """
    maps = vision.feature_maps
    if maps is None:
        maps = (vision.features.transpose(1, 2).unflatten(2, vision.token_grid),)
    return torch.cat([_mean_and_spread(stage, frames) for stage in maps], dim=1)


def _mean_and_spread(stage: Tensor, frames: Sequence[Frame]) -> Tensor:
    shown = torch.stack([content_mask(frame, stage.shape[-1]) for frame in frames])
    weight = (shown / shown.sum((1, 2), keepdim=True)).to(stage.device)[:, None]
    values = stage.float()
    mean = (values * weight).sum((2, 3))
    variance = ((values - mean[..., None, None]).square() * weight).sum((2, 3))
    return torch.cat([mean, variance.sqrt()], dim=1).cpu()


def is_large_enough(frame: Frame) -> bool:
    """Whether a frame's window has enough pixels to be judged."""
    return min(frame.window[2:]) >= SMALLEST_SIDE


def shows_enough(picture: Tensor, frame: Frame) -> bool:
    """Whether a slice is worth judging.

    Args:
        picture: uint8 (3, S, S) in the frame.
    """
    rows, columns = frame.content
    shown = picture[:, :rows, :columns].amax(0) > DARK
    return is_large_enough(frame) and float(shown.float().mean()) >= LEAST_SHOWN


def median_of(judged: Iterable[Familiarity]) -> Familiarity | None:
    """Of the slices of a volume, so that a few odd ones decide nothing; None without slices."""
    known = list(judged)
    if not known:
        return None
    middle = statistics.median(each.distance for each in known)
    return dataclasses.replace(known[0], distance=middle)


def vision_fingerprint(lvlm: LVLM) -> str:
    """Tells vision towers apart by the first weights of each tensor, whatever their precision."""
    return fingerprint(lvlm.vision_tower.state_dict(), _TOLD_APART_BY)
