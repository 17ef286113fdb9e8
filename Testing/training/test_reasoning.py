"""Training on chains of thought from a run of `run.py cot`."""

import random

import numpy as np
import pytest

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.modeling.answer import Answer
from training import run
from training.config import load_config
from training.cot.accepted import AcceptedCot
from training.loop import Trainer
from training.reasoning import WrittenReasoning
from training.records import Record

RECORD = Record(
    id="one",
    dataset="PH2",
    image="one.png",
    masks={"skin lesion": "one_mask.png"},
    modality="dermoscopy",
    body_part="skin",
    diagnosis="melanoma",
    group="one",
    licence="made up",
)
ANSWER = Answer(
    "dermoscopy of the skin",
    "the skin lesion is visible in the left part of the image",
    "it is round and darker than the surroundings",
    "melanoma",
)


def lesion(column: float) -> tuple[np.ndarray, np.ndarray]:
    """A dark disc on a bright ground, and its mask."""
    rows, columns = np.mgrid[:60, :60]
    mask = np.hypot(rows - 30, columns - 60 * column) < 9
    grey = np.where(mask, 60, 180).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1), mask


def find(answer=ANSWER, column=0.2, share=1.0, targets=("skin lesion",), mask_known=True):
    accepted = {"one": [AcceptedCot("Is it bad?", targets, answer, reviewed=True)]}
    image, mask = lesion(column)
    return WrittenReasoning(accepted, [RECORD], share).find(
        RECORD, "skin lesion", "melanoma", image, mask if mask_known else None, random.Random(0)
    )


def test_an_answer_that_fits_the_view_is_taught_in_full():
    query, taught = find()
    assert query == "Is it bad?"
    assert taught.answer == ANSWER
    assert taught.supervised == (True, True, True, True)


def test_an_answer_that_a_flip_made_false_is_not_taught():
    assert find(column=0.8) is None


def test_what_cannot_be_checked_is_not_taught():
    _, taught = find(mask_known=False)
    assert taught.supervised == (True, False, False, True)


def test_answers_about_several_targets_and_by_chance_are_left_out():
    assert find(targets=("skin lesion", "tumor")) is None
    assert find(share=0.0) is None


def test_a_run_of_cot_is_what_training_says(made_up_data, tmp_path, tiny_overrides):
    cot = tmp_path / "cot"
    assert run.main(["cot", f"data={made_up_data}", f"output={cot}", "queries.per_target=3"]) == 0
    written = (cot / "cots.jsonl").read_text()
    overrides = [*tiny_overrides, f"reasoning.folder={cot}", "reasoning.share=1.0"]
    # Without turns and crops, whatever was accepted of an image holds.
    overrides += ["sampling.geometry=false", "sampling.mismatched=0"]
    trainer = Trainer(load_config(None, overrides))
    tokenizer = trainer.model.lvlm.tokenizer
    said = [
        tokenizer.decode(row).split("ASSISTANT:")[0].strip()
        for step in range(4)
        for batch in trainer.dataset[step]
        for row in batch.text_ids.tolist()
    ]
    assert sum(query in written for query in said) > len(said) / 2
    trainer.run()
    assert trainer.step == 4


def test_a_folder_without_answers_is_refused(made_up_data, tmp_path, tiny_overrides):
    with pytest.raises(Sim4SegError, match=r"run\.py cot"):
        Trainer(load_config(None, [*tiny_overrides, f"reasoning.folder={tmp_path}"]))
