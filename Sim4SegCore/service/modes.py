"""What jobs can be about, and what they may say for each. One place, so that a mode can be added.

A volumetric mode is a name in VOLUMETRIC, which `segment_volume` knows by `SliceOptions.mode`. Its
fields stand in `protocol.JobRequest` and in _FIELDS.
"""

from __future__ import annotations

from ..scaling_config import ScalingConfig
from ..volume import SliceOptions
from .images import StoredImage
from .problems import refuse
from .protocol import JobRequest, Mode


def volume_options(request: JobRequest) -> SliceOptions:
    """How a job wants a volume taken apart."""
    mode = mode_of(request)
    asked = {name: getattr(request, name) for name in _FIELDS[mode]}
    given = {name: value for name, value in asked.items() if value is not None}
    return SliceOptions(mode=mode, **given)


VOLUMETRIC: tuple[Mode, ...] = ("slices", "volume")
_SCALING = ("samples", "masks", "seed")
_TAKING_APART = ("axis", "scouts", "key_slices")
_FIELDS: dict[Mode, tuple[str, ...]] = {
    "slice": ("slice", *_SCALING),
    "slices": _TAKING_APART,
    "volume": _TAKING_APART,
}
MODES: tuple[Mode, ...] = ("slice", *VOLUMETRIC)


def mode_of(request: JobRequest) -> Mode:
    """The mode of a job that may not name one."""
    return request.mode or "slice"


def scaling(request: JobRequest, default: ScalingConfig) -> ScalingConfig | None:
    """What a job asks for on top of the model's own; None if nothing."""
    return default.asked({name: getattr(request, name) for name in _SCALING})


def check(request: JobRequest, image: StoredImage) -> None:
    """Refuse what cannot be answered before it waits for its turn.

    Raises:
        ServiceProblemError: if the mode does not go with a field or the image.
        Sim4SegError: if the model cannot look at the image.
    """
    mode = mode_of(request)
    for other, fields in _FIELDS.items():
        for name in fields:
            if name not in _FIELDS[mode] and getattr(request, name) is not None:
                raise refuse(
                    "invalid", f"{name}: it belongs to the mode {other}; leave it out with {mode}."
                )
    if mode in VOLUMETRIC:
        image.volume()
    else:
        image.case(request.slice)
