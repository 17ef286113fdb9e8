"""The embedded model's tokenizer: byte-level BPE, so that any query in any language encodes."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from Sim4SegCore.modeling.answer import IMAGE_TOKEN, SEG_TOKEN, PromptStyle

from . import text
from .records import Record
from .targets import SYNONYMS

SPECIAL_TOKENS = ["<pad>", "<s>", "</s>", IMAGE_TOKEN, SEG_TOKEN]


def train_tokenizer(records: Sequence[Record], size: int = 1280) -> PreTrainedTokenizerFast:
    """Learn merges from the phrasings and labels that training uses.

    Args:
        records: of the training split; only labels are read.
        size: entries of the vocabulary, at least 256 bytes and the special tokens.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_sentences(records), trainer)
    return _wrapped(tokenizer)


def extend_tokenizer(
    tokenizer: PreTrainedTokenizerFast, words: Sequence[str]
) -> PreTrainedTokenizerFast:
    """A tokenizer that also has a token for each of some words, as they stand after a space.

    What it had before keeps its number. Words are put together from their end, which hardly any
    other word shares, so that the tokens of other words stay as they are.

    Args:
        tokenizer: of `train_tokenizer`.
    """
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary, merges = state["model"]["vocab"], state["model"]["merges"]
    for word in words:
        *before, merged = tokenizer.tokenize(f" {word}")
        for piece in reversed(before):
            if [piece, merged] not in merges:
                merges.append([piece, merged])
            merged = piece + merged
            vocabulary.setdefault(merged, len(vocabulary))
    return _wrapped(Tokenizer.from_str(json.dumps(state)))


def _wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=[IMAGE_TOKEN, SEG_TOKEN],
        clean_up_tokenization_spaces=False,
    )


def _sentences(records: Sequence[Record]) -> Iterator[str]:
    rng = random.Random(0)
    style = PromptStyle()
    sizes, percents = ("tiny", "small", "medium", "large"), ("less than 1", *map(str, range(101)))
    for _ in range(2):
        for record in rng.sample(list(records), min(len(records), 4000)):
            target = rng.choice(list(SYNONYMS))
            query = text.random_query(target, record.dataset, record.modality, rng)
            yield style.before_image
            yield style.after_image.replace("{query}", query)
            facts = text.MaskFacts(
                rng.choice(("in the upper left part", "in the lower right part", "in the centre")),
                rng.choice(sizes),
                rng.choice(percents),
                rng.choice(("brighter than", "darker than", "similar to")),
                rng.choice(("round", "oval", "elongated")),
            )
            answer = text.write_answer(
                target,
                rng.random() < 0.7,
                facts,
                record.modality,
                record.body_part,
                record.diagnosis,
                rng,
            )
            for piece, _ in answer.segments:
                yield piece.replace(SEG_TOKEN, "")
