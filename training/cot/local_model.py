"""A vision-language model of transformers on this machine."""

from __future__ import annotations

import threading
from pathlib import Path

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from Sim4SegCore.device import resolve_device
from Sim4SegCore.errors import Sim4SegError

from .chat import Prompt
from .config import AssistantConfig


class LocalChat:
    """Any image-text-to-text model whose processor has a chat template."""

    def __init__(self, config: AssistantConfig) -> None:
        """Load the model.

        Raises:
            Sim4SegError: if it is not given or cannot be loaded.
        """
        if not config.model:
            raise Sim4SegError("a local assistant needs model, a folder or hub id")
        self._config = config
        self._device = resolve_device(config.device)
        # Weights do not fit in memory twice, and generation uses all of the device anyway.
        self._lock = threading.Lock()
        try:
            self._processor = AutoProcessor.from_pretrained(config.model)
            model = AutoModelForImageTextToText.from_pretrained(config.model, dtype="auto")
        except (OSError, ValueError, KeyError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            raise Sim4SegError(f"cannot load the model {config.model}: {reason}") from None
        if not getattr(self._processor, "chat_template", None):
            raise Sim4SegError(f"{config.model} has no chat template, so it cannot be asked")
        self._model = model.to(self._device).eval()

    @property
    def name(self) -> str:
        """The folder's or the hub's name of the model."""
        return Path(self._config.model).name

    def reply(self, prompt: Prompt) -> str:
        """Generated text, without prompt and special tokens."""
        picture = Image.fromarray(prompt.picture)
        picture.thumbnail((self._config.image_side, self._config.image_side))
        content = [{"type": "image"}, {"type": "text", "text": prompt.text}]
        messages = [
            {"role": "system", "content": [{"type": "text", "text": prompt.system}]},
            {"role": "user", "content": content},
        ]
        text = self._processor.apply_chat_template(messages, add_generation_prompt=True)
        with self._lock, torch.inference_mode():
            inputs = self._processor(text=text, images=[picture], return_tensors="pt")
            inputs = inputs.to(self._device, dtype=self._model.dtype)
            warm = self._config.temperature > 0
            output = self._model.generate(
                **inputs,
                max_new_tokens=self._config.max_tokens,
                do_sample=warm,
                temperature=self._config.temperature if warm else None,
            )
        new = output[0, inputs["input_ids"].shape[1] :]
        return str(self._processor.decode(new, skip_special_tokens=True)).strip()
