"""A compact convolutional image encoder that the LVLM and the segmenter share.

Registered with transformers under the model type `sim4seg_compact_vision`, so that a LLaVA
configuration names it like any other vision tower. Dense 3x3 convolutions rather than
depthwise ones: on CPUs they run many times faster per multiplication.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

STRIDES = (4, 8, 16, 32)


class CompactVisionConfig(PreTrainedConfig):
    """Sizes of the encoder.

    Attributes:
        stage_channels: channels of the features at strides 4, 8, 16 and 32.
        stage_depths: residual blocks per stage.
        hidden_size: channels of the tokens for the LVLM, taken at stride 16.
        image_size: side of the square input in pixels; fixes the token grid.
    """

    model_type = "sim4seg_compact_vision"

    stage_channels: list[int] | None = None
    stage_depths: list[int] | None = None
    hidden_size: int = 256
    image_size: int = 256
    patch_size: int = 16

    def __post_init__(self, **kwargs: object) -> None:
        self.stage_channels = self.stage_channels or [64, 128, 256, 256]
        self.stage_depths = self.stage_depths or [2, 2, 2, 1]
        super().__post_init__(**kwargs)


@dataclass
class CompactVisionOutput(BaseModelOutputWithPooling):
    """Adds the multi-scale features that the segmenter's neck reads.

    Attributes:
        feature_maps: (B, C, H / s, W / s) for s in 4, 8, 16, 32.
    """

    feature_maps: tuple[Tensor, ...] | None = None


NORM_GROUPS = 8


class ConvNorm(nn.Sequential):
    """Convolution and group normalisation: a sample never depends on its batch."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        padding = (kernel - 1) // 2 if stride == 1 or kernel == 3 else 0
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False),
            nn.GroupNorm(NORM_GROUPS, outputs),
        )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al., arXiv 1512.03385)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvNorm(channels, channels, 3)
        self.second = ConvNorm(channels, channels, 3)

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(features + self.second(F.relu(self.first(features))))


def residual_stages(channels: Sequence[int], depths: Sequence[int]) -> nn.ModuleList:
    """Stages of residual blocks, all but the first halving the resolution."""
    stages = []
    for index, (width, depth) in enumerate(zip(channels, depths, strict=True)):
        down = [] if index == 0 else [ConvNorm(channels[index - 1], width, 2, 2), nn.ReLU()]
        stages.append(nn.Sequential(*down, *(ResidualBlock(width) for _ in range(depth))))
    return nn.ModuleList(stages)


def maps_of_stages(stages: nn.ModuleList, features: Tensor) -> tuple[Tensor, ...]:
    """What each stage makes of the one before."""
    maps = []
    for stage in stages:
        features = stage(features)
        maps.append(features)
    return tuple(maps)


class CompactVisionModel(PreTrainedModel):
    """Patch stem of stride 4 and four residual stages.

    Fully convolutional: any side that 32 divides works for `feature_maps`; the LVLM's tokens
    are resampled to the configured grid.
    """

    config_class = CompactVisionConfig
    base_model_prefix = "compact_vision"
    main_input_name = "pixel_values"

    def __init__(self, config: CompactVisionConfig) -> None:
        super().__init__(config)
        channels, depths = config.stage_channels, config.stage_depths
        assert channels is not None and depths is not None
        self.stem = ConvNorm(3, channels[0], 4, 4)
        self.stages = residual_stages(channels, depths)
        self.to_tokens = nn.Conv2d(channels[2] + channels[3], config.hidden_size, 1)
        grid = config.image_size // config.patch_size
        self.position_embedding = nn.Embedding(grid * grid, config.hidden_size)
        self.token_norm = nn.LayerNorm(config.hidden_size)
        self.token_grid = grid
        self.post_init()

    def feature_maps(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) normalised pixels to features at strides 4, 8, 16 and 32."""
        return maps_of_stages(self.stages, F.relu(self.stem(pixel_values)))

    def tokens(self, feature_maps: tuple[Tensor, ...]) -> Tensor:
        """Features to (B, grid * grid, hidden_size) tokens in raster order."""
        coarse = F.interpolate(feature_maps[3], size=feature_maps[2].shape[-2:], mode="nearest")
        merged = self.to_tokens(torch.cat([feature_maps[2], coarse], dim=1))
        if merged.shape[-1] != self.token_grid:
            merged = F.adaptive_avg_pool2d(merged, self.token_grid)
        tokens = merged.flatten(2).transpose(1, 2)
        return self.token_norm(tokens) + self.position_embedding.weight

    def forward(self, pixel_values: Tensor, **_: object) -> CompactVisionOutput:
        """transformers' calling convention; unknown options of other towers are ignored."""
        maps = self.feature_maps(pixel_values)
        tokens = self.tokens(maps)
        return CompactVisionOutput(
            last_hidden_state=tokens, hidden_states=(tokens,), feature_maps=maps
        )


def register() -> None:
    """Make the encoder known to transformers' Auto classes; safe to call twice."""
    AutoConfig.register(CompactVisionConfig.model_type, CompactVisionConfig, exist_ok=True)
    AutoModel.register(CompactVisionConfig, CompactVisionModel, exist_ok=True)
