"""The language-vision model: any LLaVA-type network of transformers, at any size.

One forward serves training and inference. The image comes first in the prompt, so that its
keys and values, and the hidden states of its tokens, are computed once per image and shared
by every query. Knows nothing of SAM, masks or files.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BaseImageProcessor, PreTrainedModel, PreTrainedTokenizerBase

from ..errors import Sim4SegError
from .answer import PromptStyle


@dataclass(frozen=True)
class LVLMConfig:
    """What transformers' own configuration does not say.

    Attributes:
        source: where the network comes from: `lvlm` is the checkpoint's own folder; a path or
            hub id stands for a base model that an adapter in the checkpoint refines.
        image_size: side of the padded square that the vision tower sees, in pixels.
        prompt: the text around image and query.
    """

    source: str = "lvlm"
    image_size: int = 256
    prompt: PromptStyle = field(default_factory=PromptStyle)


@dataclass
class VisionOutput:
    """One pass of the vision tower.

    Attributes:
        outputs: as transformers' `get_image_features` gives them.
        pixels: the network's own image inputs (`pixel_values`, for Qwen-VL also the grid).
        token_grid: (rows, columns) of the image tokens.
    """

    outputs: Any
    pixels: dict[str, Tensor]
    token_grid: tuple[int, int]

    @property
    def token_count(self) -> int:
        """How many tokens stand for the image in the prompt."""
        rows, columns = self.token_grid
        return rows * columns

    @property
    def features(self) -> Tensor:
        """(B, N, D) image features as the language model gets them."""
        features = self.outputs.pooler_output
        return features if isinstance(features, Tensor) else torch.stack(list(features))

    @property
    def feature_maps(self) -> tuple[Tensor, ...] | None:
        """Multi-scale features, where the tower offers them to a segmenter."""
        return getattr(self.outputs, "feature_maps", None)


class LVLM(nn.Module):
    """A transformers vision-language network with its tokenizer and image processor."""

    def __init__(
        self,
        config: LVLMConfig,
        network: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        image_processor: BaseImageProcessor,
    ) -> None:
        super().__init__()
        self.config = config
        self.network = network
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        parameters = inspect.signature(network.model.forward).parameters
        self._wants_token_types = "mm_token_type_ids" in parameters
        # transformers 5.24 renamed it, and warns at every call that uses the old name.
        self._cache_argument = "cache" if "cache" in parameters else "past_key_values"

    @property
    def hidden_size(self) -> int:
        """Width of the hidden states."""
        return int(self.network.config.get_text_config().hidden_size)

    @property
    def image_token_id(self) -> int:
        """Id of the placeholder that image features replace."""
        return int(self.network.config.image_token_id)

    @property
    def token_side(self) -> int:
        """Side of the square grid of image tokens."""
        vision = self.network.config.vision_config
        merged = getattr(vision, "spatial_merge_size", 1)
        return int(self.config.image_size // (vision.patch_size * merged))

    @property
    def blocks(self) -> list[nn.Module]:
        """The layers of the language model, one by one."""
        return list(self.network.model.language_model.layers)

    @property
    def stage_channels(self) -> list[int] | None:
        """Channels of the vision tower's feature maps, if it offers any."""
        return getattr(self.network.config.vision_config, "stage_channels", None)

    @property
    def vision_tower(self) -> Any:
        """The image encoder; transformers has two names for it."""
        model = self.network.model
        return model.vision_tower if hasattr(model, "vision_tower") else model.visual

    def normalise(self, images: Tensor) -> dict[str, Tensor]:
        """uint8 (B, 3, S, S), already framed, to the network's own image inputs."""
        inputs = self.image_processor(
            images=list(images), do_resize=False, do_center_crop=False, return_tensors="pt"
        )
        device, dtype = self.network.device, self.network.dtype
        return {
            name: value.to(device, dtype if value.is_floating_point() else None)
            for name, value in inputs.items()
            if isinstance(value, Tensor)
        }

    def see(self, images: Tensor) -> VisionOutput:
        """Run the vision tower.

        Args:
            images: uint8 (B, 3, S, S) in the LVLM's frame.

        Raises:
            Sim4SegError: if the tokens form no square grid, which RVLS2M needs.
        """
        pixels = self.normalise(images)
        outputs = self.network.get_image_features(**pixels, return_dict=True)
        count = len(outputs.pooler_output[0])
        side = math.isqrt(count)
        if side * side != count:
            raise Sim4SegError(
                f"this LVLM gives {count} image tokens, which form no square grid; "
                "choose an image_size that its patches divide"
            )
        return VisionOutput(outputs, pixels, (side, side))

    def prefix_ids(self, vision: VisionOutput) -> list[int]:
        """Ids of everything up to and including the image tokens; the same for every query."""
        before = self.encode(self.config.prompt.before_image)
        start = self.tokenizer.bos_token_id
        return (
            ([] if start is None else [start]) + before + [self.image_token_id] * vision.token_count
        )

    def query_ids(self, query: str) -> list[int]:
        """Ids of what follows the image, up to where the answer begins.

        A query never brings special tokens of its own: no [SEG], image or end of a turn.
        """
        for token in self.tokenizer.get_added_vocab():
            query = query.replace(token, " ")
        return self.encode(self.config.prompt.after_image.replace("{query}", query.strip()))

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens of the tokenizer's own accord."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def hidden_states(
        self,
        input_ids: Tensor,
        vision: VisionOutput | None = None,
        cache: Any = None,
        use_cache: bool = False,
    ) -> tuple[Tensor, Any]:
        """Last-layer hidden states.

        Right padding needs no mask: attention is causal, so no real token sees it.

        Args:
            input_ids: (B, T); with `vision`, holds its image tokens.
            vision: the image of this call; None when it is in the cache already.
            cache: transformers' key-value cache of the tokens before these.

        Returns:
            (B, T, D) after the final norm, and the cache.
        """
        arguments: dict[str, Any] = {self._cache_argument: cache, "use_cache": use_cache}
        if vision is not None:
            arguments["mm_encoder_outputs"] = {"image": vision.outputs}
            if self._wants_token_types:
                arguments["mm_token_type_ids"] = (input_ids == self.image_token_id).int()
                arguments["image_grid_thw"] = vision.pixels["image_grid_thw"]
        output = self.network.model(input_ids=input_ids, **arguments)
        if getattr(self.network.model, "rope_deltas", None) is not None:
            # Qwen-VL keeps the batch's shift of positions behind the image for cached calls. It
            # is the same for every image of one size; a single row serves any batch that follows.
            self.network.model.rope_deltas = self.network.model.rope_deltas[:1]
        return output.last_hidden_state, getattr(output, self._cache_argument)

    def tree_states(self, tokens: Sequence[int], parents: Sequence[int], cache: Any) -> Tensor:
        """Hidden states of many continuations of one context, in one call.

        Continuations that begin alike share tokens: together they form a tree, in which each
        token sees the context, its ancestors and itself (as in SpecInfer, arXiv 2305.09781).

        Args:
            tokens: T ids; a token stands after its parent.
            parents: index of each token's parent; -1 follows the context itself.
            cache: of the context, batch 1; left as it is.

        Returns:
            (T, D).
        """
        visible = ancestors(parents)
        past = cache.get_seq_length()
        allowed = torch.cat([torch.ones(len(tokens), past, dtype=torch.bool), visible], dim=1)
        states: Tensor = self.masked_states(
            torch.tensor([list(tokens)]),
            (past + visible.sum(1) - 1)[None],
            allowed[None],
            copy.deepcopy(cache),
        )[0]
        return states

    def masked_states(
        self, tokens: Tensor, positions: Tensor, visible: Tensor, cache: Any
    ) -> Tensor:
        """Hidden states of tokens that each see what they are told to.

        Args:
            tokens: (B, T) ids of text.
            positions: (B, T), counted from the beginning of the sequence.
            visible: bool (B, T, S + T) over the S tokens in the cache and these.
            cache: batch B; grows by T.

        Returns:
            (B, T, D).
        """
        device, dtype = self.network.device, self.network.dtype
        mask = torch.zeros(visible.shape).masked_fill(~visible, torch.finfo(dtype).min)
        output = self.network.model(
            input_ids=tokens.to(device),
            attention_mask=mask[:, None].to(device, dtype),
            position_ids=self._positions(positions).to(device),
            use_cache=True,
            **{self._cache_argument: cache},
        )
        states: Tensor = output.last_hidden_state
        return states

    def _positions(self, positions: Tensor) -> Tensor:
        """Position ids (B, T) of text after an image, in the network's own form."""
        if not self._wants_token_types:
            return positions
        shift = int(self.network.model.rope_deltas.flatten()[0])
        return (positions + shift).expand(3, -1, -1)

    def logits(self, hidden_states: Tensor) -> Tensor:
        """(..., D) to next-token logits (..., vocabulary), float32."""
        scores: Tensor = self.network.lm_head(hidden_states)
        return scores.float()


def ancestors(parents: Sequence[int]) -> Tensor:
    """bool (T, T): True where a token of a tree is another's ancestor or itself.

    Args:
        parents: index of each token's parent, which stands before it; -1 for a root.
    """
    related = torch.eye(len(parents), dtype=torch.bool)
    for index, parent in enumerate(parents):
        if parent >= 0:
            related[index] |= related[parent]
    return related
