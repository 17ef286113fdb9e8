"""The local assistant with a tiny LLaVA of random weights, loaded from a folder."""

import sys
from pathlib import Path

import numpy as np
import pytest

from Sim4SegCore.errors import Sim4SegError
from training.cot.chat import Prompt
from training.cot.config import AssistantConfig
from training.cot.local_model import LocalChat

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "modeling"))
from tiny import SIDE, write_llava

TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}\n"
    "{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)
PROMPT = Prompt("a role", "Is it a polyp?", np.full((40, 60, 3), 90, np.uint8))
CONFIG = {"kind": "local", "device": "cpu", "temperature": 0.0, "max_tokens": 6}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from transformers import AutoTokenizer, CLIPImageProcessor, LlavaProcessor

    folder = write_llava(tmp_path_factory.mktemp("local") / "tiny-llava")
    LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=SIDE),
        AutoTokenizer.from_pretrained(folder),
        patch_size=16,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
    return folder


def test_replies_are_generated_and_follow_question_and_picture(model):
    chat = LocalChat(AssistantConfig(model=str(model), **CONFIG))
    reply = chat.reply(PROMPT)
    assert chat.name == "tiny-llava"
    assert reply
    assert "role" not in reply
    assert chat.reply(PROMPT) == reply
    other = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    replies = {reply, chat.reply(Prompt("a role", "Is it a polyp?", other))}
    replies.add(chat.reply(Prompt("another role", "Say benign breast mass.", other)))
    assert len(replies) == 3


def test_a_model_without_a_chat_template_is_refused(tmp_path):
    folder = write_llava(tmp_path / "plain")
    with pytest.raises(Sim4SegError, match=r"no chat template|cannot load"):
        LocalChat(AssistantConfig(model=str(folder), **CONFIG))
