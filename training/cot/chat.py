"""What an assistant needs of a vision-language model: one picture, one question, one reply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Prompt:
    """One question.

    Attributes:
        system: the role that the model plays.
        text: the question.
        picture: uint8 (H, W, 3), shown with it.
    """

    system: str
    text: str
    picture: NDArray[np.uint8]


class Chat(Protocol):
    """A vision-language model, wherever it runs."""

    @property
    def name(self) -> str:
        """The model's name, for the record."""
        ...

    def reply(self, prompt: Prompt) -> str:
        """The model's text.

        Raises:
            Sim4SegError: if the model cannot be reached or used; asking again does not help.
        """
        ...
