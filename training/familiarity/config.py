"""How the judge of familiarity is fitted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FamiliarityConfig:
    """Sizes and rates.

    Attributes:
        images_per_set: training images of each set at most, so that large sets do not rule.
        torn_per_set: of these, how many are also shown torn.
        more_familiar: images at most of what is named as familiar besides the sets.
        blended: views that are made of exposed pictures.
        networks: whose mean judges; one alone depends on its seed.
        hidden: units of the hidden layer of each.
        steps: of the optimiser.
        batch: images of each side, familiar and not, in a step.
        dropout: of the hidden layer.
        outside_rate: share of the held-out training images that may be called outside.
        seed: of everything that is drawn.
    """

    images_per_set: int = 140
    torn_per_set: int = 40
    more_familiar: int = 400
    blended: int = 700
    networks: int = 4
    hidden: int = 5
    steps: int = 600
    batch: int = 192
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    dropout: float = 0.3
    outside_rate: float = 0.03
    seed: int = 0
