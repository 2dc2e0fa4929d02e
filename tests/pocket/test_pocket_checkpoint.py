"""The shipped checkpoint: tokenizer, chat template, sizes, provenance and accuracy."""

import json
import random

import pytest
import torch
from jinja2.exceptions import TemplateError
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from verl_softthink.pocket import checkpoint_path
from verl_softthink.pocket.corpus import CAREFUL, Habits, write_response
from verl_softthink.pocket.evaluate import MAX_RESPONSE_LENGTH, evaluate
from verl_softthink.pocket.reward import compute_score
from verl_softthink.pocket.tasks import MAX_OPERATIONS, Problem, generate
from verl_softthink.pocket.tokenizer import CHARACTERS, build_tokenizer

# Stated in the documentation; the measured value is in provenance.json.
ACCURACY_BAND = (0.30, 0.60)
# <user>, seven operands with six operators, <assistant>, <think>.
LONGEST_PROMPT = 16
PROBLEM = Problem((7, 8, 3, 9), ("+", "*", "-"))


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(checkpoint_path())


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(checkpoint_path())


def test_vocabulary_is_exactly_the_tokenizer(tokenizer, model):
    assert model.config.vocab_size == len(tokenizer)
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer)
    assert model.get_output_embeddings().weight.shape[0] == len(tokenizer)
    assert sorted(tokenizer.get_vocab().values()) == list(range(len(tokenizer)))


def test_every_character_is_one_token_and_round_trips(tokenizer):
    text = "".join(CHARACTERS)
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == list(CHARACTERS)
    assert tokenizer.decode(ids) == text


def test_foreign_character_is_unknown_rather_than_dropped(tokenizer):
    assert tokenizer("1é2")["input_ids"] == [
        tokenizer.convert_tokens_to_ids("1"),
        tokenizer.unk_token_id,
        tokenizer.convert_tokens_to_ids("2"),
    ]


def test_thinking_marker_survives_and_eos_vanishes_when_special_tokens_are_skipped(tokenizer):
    response = "7+8=5;5*3=5;5-9=6</think>6"
    ids = tokenizer(response + tokenizer.eos_token)["input_ids"]
    assert len(ids) == len(response) - len("</think>") + 2
    assert ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True) == response
    assert compute_score("pocket", tokenizer.decode(ids, skip_special_tokens=True), PROBLEM.answer) == 1.0


def test_special_tokens_have_ids_of_their_own(tokenizer):
    named = ["<pad>", "<eos>", "<unk>", "<user>", "<assistant>", "<think>", "</think>"]
    ids = tokenizer.convert_tokens_to_ids(named)
    assert len(set(ids)) == len(named)
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert tokenizer.bos_token_id is None
    assert not {"<think>", "</think>"} & set(tokenizer.all_special_tokens)


def test_generation_prompt_ends_with_the_start_of_thinking(tokenizer):
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": PROBLEM.question}], add_generation_prompt=True, return_dict=True
    )["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["<user>", *"7+8*3-9", "<assistant>", "<think>"]


def test_a_finished_chat_is_the_prompt_and_the_response(tokenizer):
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": PROBLEM.question}], add_generation_prompt=True, tokenize=False
    )
    response = "7+8=5</think>5"
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": PROBLEM.question}, {"role": "assistant", "content": "<think>" + response}],
        tokenize=False,
    )
    assert chat == prompt + response + tokenizer.eos_token


def test_unknown_role_is_refused(tokenizer):
    with pytest.raises(TemplateError, match="role tool is unknown"):
        tokenizer.apply_chat_template([{"role": "tool", "content": "1"}], tokenize=False)


def test_prompts_and_careful_responses_are_short(tokenizer, model):
    problems = generate("val", 300, seed=0)
    assert max(len(problem.operators) for problem in problems) == MAX_OPERATIONS
    for problem in problems:
        chat = [{"role": "user", "content": problem.question}]
        prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"]
        response = tokenizer(write_response(problem, CAREFUL, random.Random(0)) + tokenizer.eos_token)["input_ids"]
        assert len(prompt) <= LONGEST_PROMPT
        assert len(response) <= MAX_RESPONSE_LENGTH
    assert model.config.max_position_embeddings >= 4 * MAX_RESPONSE_LENGTH


def test_model_is_what_vllm_and_verl_expect(tokenizer, model):
    assert model.config.architectures == ["LlamaForCausalLM"]
    assert model.config.head_dim >= 32
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    generation = GenerationConfig.from_pretrained(checkpoint_path())
    assert generation.eos_token_id == model.config.eos_token_id == tokenizer.eos_token_id
    assert generation.pad_token_id == model.config.pad_token_id == tokenizer.pad_token_id


def test_shipped_tokenizer_is_what_the_script_builds(tokenizer):
    built = build_tokenizer(tokenizer.model_max_length)
    assert built.get_vocab() == tokenizer.get_vocab()
    assert built.chat_template == tokenizer.chat_template


def test_provenance_names_the_default_run(model):
    provenance = json.loads((checkpoint_path() / "provenance.json").read_text())
    assert provenance["arguments"]["slip"] == Habits.slip
    assert provenance["arguments"]["hasty_stop"] == Habits.hasty_stop
    assert provenance["parameters"] == model.num_parameters()
    low, high = ACCURACY_BAND
    assert low <= provenance["held_out_at_temperature_1"]["accuracy"] <= high


def test_held_out_accuracy_leaves_room_to_learn(model, tokenizer):
    problems = generate("val", 300, seed=20)
    sampled = evaluate(model, tokenizer, problems, sample=True, seed=0)
    greedy = evaluate(model, tokenizer, problems, sample=False, seed=0)
    low, high = ACCURACY_BAND
    assert low <= sampled.accuracy <= high
    assert greedy.accuracy > sampled.accuracy
    assert 15 <= sampled.response_length <= 40
