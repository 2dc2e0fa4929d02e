"""Chat templates that leave thinking open, and those that close it before the model's turn."""

import pytest
from transformers import AutoTokenizer

from verl_softthink.pocket import checkpoint_path
from verl_softthink.thinking import closing_turn, require_open_turn

QWEN = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(checkpoint_path())


@pytest.mark.parametrize(
    ("template", "arguments", "turn"),
    [
        (QWEN, {}, None),
        (QWEN, {"enable_thinking": True}, None),
        (QWEN, {"enable_thinking": False}, "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"),
        # A system message that shows the markers closes nothing.
        ("Think within <think></think>. {{ messages[0].content }} <think>", {}, None),
        ("{{ messages[0].content }}<think></think>", {}, "<think></think>"),
        (None, {}, None),
    ],
)
def test_a_closed_template_is_told_from_an_open_one(tokenizer, monkeypatch, template, arguments, turn):
    monkeypatch.setattr(tokenizer, "chat_template", template)
    assert closing_turn(tokenizer, "</think>", **arguments) == turn
    assert closing_turn(tokenizer, tokenizer.encode("</think>"), **arguments) == turn


def test_a_command_that_renders_prompts_refuses_a_closed_template(tokenizer, monkeypatch):
    require_open_turn(tokenizer, "</think>", "model=pocket")
    monkeypatch.setattr(tokenizer, "chat_template", "{{ messages[0].content }}<think></think>")
    with pytest.raises(ValueError, match="model=pocket: its chat template begins the model's turn with '<think></thi"):
        require_open_turn(tokenizer, "</think>", "model=pocket")
