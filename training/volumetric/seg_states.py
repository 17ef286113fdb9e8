"""[SEG] states of a checkpoint for many queries about many slices."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from Sim4SegCore.frame import Frame
from Sim4SegCore.io import read_volume_case
from Sim4SegCore.modeling.answer import OPENING, SEG_TOKEN
from Sim4SegCore.modeling.lvlm import LVLM
from Sim4SegCore.volume.slice_view import PLANES, view_slices
from Sim4SegCore.volume.slices import SlicePictures
from Sim4SegCore.volume.windows import choose_window

from .. import text
from ..targets import SYNONYMS
from .config import TargetConfig
from .other_structures import OTHER_STRUCTURES

TEMPLATES = (
    *text.QUERIES,
    "Where is the {target}? Segment it and report its volume.",
    "Segment the {target} and measure it.",
    "What is the volume of the {target}?",
    "How large is the {target}?",
    "Delineate the {target} in this scan.",
    "{target}",
    "the {target}",
    "Mark the {target}, please.",
    "Segment {target}",
    "Is the {target} visible? Is it normal?",
)
SIDES = ("", "", "left ", "right ")
QUERIES_PER_IMAGE = 128
MADE_UP = 0.35
"""Share of the words for something else that mean nothing."""
CONSONANTS = (
    "b",
    "c",
    "d",
    "f",
    "g",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "t",
    "v",
    "h",
    "th",
    "ph",
    "st",
)
MOST_WORDS = 64
"""Tokens of a query that are kept; those that are drawn here have fewer."""


@dataclass(frozen=True)
class AskedWord:
    """What a query may ask for; `target` is -1 for everything that is not taught."""

    word: str
    target: int


def words_asked(targets: Sequence[TargetConfig]) -> tuple[list[AskedWord], list[AskedWord]]:
    """Words of the targets, and all others that training knows."""
    own = [AskedWord(word, n) for n, target in enumerate(targets) for word in target.words]
    named = {asked.word for asked in own}
    known = [name for names in SYNONYMS.values() for name in names]
    others = sorted({*known, *OTHER_STRUCTURES} - named)
    return own, [AskedWord(word, -1) for word in others]


def made_up_word(rng: random.Random) -> str:
    """A word that means nothing, as a structure of which training never heard does."""
    syllables = [
        rng.choice(CONSONANTS) + rng.choice("aeiou") + rng.choice(("", "", *CONSONANTS))
        for _ in range(rng.randint(1, 4))
    ]
    return "".join(syllables) + rng.choice(("", "us", "um", "is", "a", "ia", " gland", " lobe"))


def draw_queries(
    own: Sequence[AskedWord],
    others: Sequence[AskedWord],
    templates: Sequence[str],
    rng: random.Random,
) -> list[tuple[str, int]]:
    """Queries for one image, each with the target that it asks for; half ask for something else."""
    queries = []
    for number in range(QUERIES_PER_IMAGE):
        asked = rng.choice(own if number % 2 else others)
        if asked.target < 0 and rng.random() < MADE_UP:
            asked = AskedWord(made_up_word(rng), -1)
        word = rng.choice(SIDES) + asked.word if asked.target >= 0 else asked.word
        query = rng.choice(templates).format(target=word, modality=rng.choice(("MRI", "scan")))
        queries.append((query.lower() if rng.random() < 0.2 else query, asked.target))
    return queries


def volume_pictures(paths: Sequence[Path], side: int, rng: random.Random) -> list[Tensor]:
    """A slice of each volume along some axis, as the language model sees it: (1, 3, S, S)."""
    pictures = []
    for path in paths:
        case = read_volume_case(path)
        view = view_slices(case.geometry, case.shape, rng.choice(PLANES))
        stack = SlicePictures(case, view, choose_window(case, ""))
        number = int(len(stack) * rng.uniform(0.1, 0.9))
        pictures.append(stack.framed([number], stack.frame(side)))
    return pictures


def stored_pictures(paths: Sequence[Path], side: int) -> list[Tensor]:
    """Pictures from files, as the language model sees them: (1, 3, S, S)."""
    pictures = []
    for path in paths:
        with Image.open(path) as image:
            pixels = torch.from_numpy(np.asarray(image.convert("RGB")).copy()).permute(2, 0, 1)
        frame = Frame.longest_side((pixels.shape[1], pixels.shape[2]), side)
        pictures.append(frame.apply(pixels)[None])
    return pictures


@torch.inference_mode()
def seg_states(lvlm: LVLM, picture: Tensor, queries: Sequence[str]) -> tuple[Tensor, Tensor]:
    """[SEG] states (Q, D) of queries about one picture (1, 3, S, S), in one call, and the
    embeddings (Q, T, D) of their words, zeros after the last.
    """
    seg_id = int(lvlm.tokenizer.convert_tokens_to_ids(SEG_TOKEN))
    opening = lvlm.encode(OPENING)
    until_seg = opening[: opening.index(seg_id) + 1]
    texts = [lvlm.query_ids(query) + until_seg for query in queries]
    longest = max(map(len, texts))
    tokens = torch.tensor([ids + [0] * (longest - len(ids)) for ids in texts])
    device = lvlm.network.device
    vision = lvlm.see(picture.to(device))
    prefix = torch.tensor([lvlm.prefix_ids(vision)], device=device)
    _, cache = lvlm.hidden_states(prefix, vision, use_cache=True)
    cache.batch_repeat_interleave(len(texts))
    states, _ = lvlm.hidden_states(tokens.to(device), cache=cache, use_cache=True)
    ends = torch.tensor([len(ids) - 1 for ids in texts])
    words = torch.zeros(len(texts), MOST_WORDS, states.shape[-1])
    for row, query in zip(words, queries, strict=True):
        embedded = lvlm.word_embeddings(query)[:MOST_WORDS]
        row[: len(embedded)] = embedded
    return states[torch.arange(len(texts)), ends].float().cpu(), words.half()
