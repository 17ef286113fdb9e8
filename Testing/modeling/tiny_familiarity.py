"""A judge of familiarity for a tiny model, with a limit of the test's."""

from __future__ import annotations

import torch
from tiny import picture

from Sim4SegCore.frame import Frame
from Sim4SegCore.modeling.familiarity import FamiliarityJudge, pooled_features, vision_fingerprint
from Sim4SegCore.modeling.lvlm import LVLM


def features(lvlm: LVLM, height: int = 40, width: int = 120) -> torch.Tensor:
    frame = Frame.longest_side((height, width), lvlm.config.image_size)
    with torch.inference_mode():
        return pooled_features(lvlm.see(frame.apply(picture(0, height, width))[None]), [frame])


def judge_for(lvlm: LVLM, limit: float) -> FamiliarityJudge:
    """Distances of log(1 + e) at a whole, and more for what is off."""
    size = features(lvlm).shape[1]
    return FamiliarityJudge(
        mean=torch.zeros(size),
        spread=torch.ones(size),
        hidden=torch.full((1, size), 0.5),
        hidden_bias=torch.ones(1),
        output=torch.ones(1),
        limit=limit,
        fitted_to=vision_fingerprint(lvlm),
    )
