"""Which intensities of a volume become black and white, the same for all of its slices."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..intensity import PERCENTILES
from .case import VolumeCase

_SAMPLED_VOXELS = 2_000_000


@dataclass(frozen=True)
class Window:
    """Intensities between `low` and `high` are shown.

    Attributes:
        name: which one it is and why, for people.
    """

    low: float
    high: float
    name: str

    def to_uint8(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Grey values of any type to 0..255; what lies outside is clipped."""
        scale = 255.0 / max(self.high - self.low, 1e-12)
        shown = values.astype(np.float32)
        shown -= np.float32(self.low)
        shown *= np.float32(scale)
        return np.clip(np.rint(shown, out=shown), 0, 255, out=shown).astype(np.uint8)


@dataclass(frozen=True)
class _Preset:
    name: str
    centre: float
    width: float
    words: str
    """Pattern of what a query or body part says."""


# Centre and width in HU as radiology uses them; the first whose words fit is taken.
_CT_PRESETS = (
    _Preset("lung", -600, 1500, r"lungs?\b|pulmonary|pneumo|emphysema|airway|bronch|trachea"),
    _Preset("bone", 400, 1800, r"bones?\b|fractur|vertebra|spine|ribs?\b|pelvis bone|femur|skull"),
    _Preset("brain", 40, 80, r"brain|stroke|intracranial|haemorrhag|hemorrhag|head\b|ventricle"),
    _Preset("liver", 60, 160, r"liver|hepat|spleen|pancrea|gallbladder"),
    _Preset("vessel", 300, 600, r"aort|arter|vessel|angio|aneurysm|embol"),
    _Preset("mediastinum", 50, 350, r"mediastin|chest|thorax|lymph|heart"),
    _Preset("abdomen", 50, 400, r"abdom|kidney|renal|bowel|colon|bladder|prostate|uter"),
)
_SOFT_TISSUE = _Preset("soft tissue", 40, 400, "")


def choose_window(case: VolumeCase, query: str) -> Window:
    """8-bit volumes as stored; CT by the query, the body part or the file's own window; others
    between the 0.5th and 99.5th percentile of the whole volume.
    """
    if case.voxels.dtype == np.uint8 or case.voxels.dtype == np.bool_:
        top = 1.0 if case.voxels.dtype == np.bool_ else 255.0
        return Window(0.0, top, "as stored")
    if case.apparent_modality == "CT":
        return _ct_window(case, query)
    return _percentile_window(case.voxels)


def _ct_window(case: VolumeCase, query: str) -> Window:
    unsure = "" if case.modality == "CT" else ", taken for CT by its values"
    for words, origin in ((query, "query"), (case.body_part or "", "body part")):
        for preset in _CT_PRESETS:
            if re.search(preset.words, words.lower()):
                return _window(preset.centre, preset.width, f"CT {preset.name} ({origin}){unsure}")
    if case.window is not None:
        return _window(*case.window, f"the file's own{unsure}")
    return _window(_SOFT_TISSUE.centre, _SOFT_TISSUE.width, f"CT {_SOFT_TISSUE.name}{unsure}")


def _window(centre: float, width: float, name: str) -> Window:
    return Window(centre - width / 2, centre + width / 2, name)


def _percentile_window(voxels: NDArray[Any]) -> Window:
    """Of a sample on a regular grid: percentiles of a whole CT would copy it."""
    step = max(1, round((voxels.size / _SAMPLED_VOXELS) ** (1 / 3)))
    low, high = np.percentile(voxels[::step, ::step, ::step], PERCENTILES)
    if low == high:
        # A few bright voxels on an even ground: percentiles would erase them.
        low, high = voxels.min(), voxels.max()
    return Window(float(low), float(high), "percentiles 0.5 to 99.5")


def volumetric_window(case: VolumeCase, shown: Window) -> Window:
    """The slices' window; 8-bit volumes between percentiles, which the network was taught with."""
    return _percentile_window(case.voxels) if case.voxels.dtype == np.uint8 else shown
