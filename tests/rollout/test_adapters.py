"""Adapters of soft requests: on the input embedding they are refused, elsewhere taken."""

import json
import re

import pytest
import torch
from safetensors.torch import save_file
from upstream.sources import source
from vllm.lora.request import LoRARequest

from verl_softthink.rollout.vllm import adapters
from verl_softthink.rollout.vllm.adapters import check_adapter

pytestmark = pytest.mark.vllm

#: Where verl names the adapter that it holds in memory.
VERL_NAMES = "verl.workers.rollout.vllm_rollout.utils"
ON_LAYER = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
ON_HEAD = "base_model.model.lm_head.lora_embedding_A"


def adapter(folder, tensors=None, targets=None) -> LoRARequest:
    if tensors is not None:
        save_file({name: torch.zeros(2, 4) for name in tensors}, folder / "adapter_model.safetensors")
    if targets is not None:
        (folder / "adapter_config.json").write_text(json.dumps({"target_modules": targets}))
    return LoRARequest("style", 1, str(folder))


@pytest.mark.parametrize("tensors", [[ON_LAYER], [ON_LAYER, ON_HEAD]])
def test_an_adapter_elsewhere_is_taken(tmp_path, tensors):
    check_adapter(adapter(tmp_path, tensors, ["q_proj"]))
    check_adapter(None)


@pytest.mark.parametrize(
    "name",
    [
        "base_model.model.model.embed_tokens.lora_embedding_A",
        "base_model.model.transformer.wte.lora_embedding_B",
        "base_model.model.model.embed_tokens.lora_A.weight",
    ],
)
def test_one_on_the_input_embedding_is_refused_by_name(tmp_path, name):
    with pytest.raises(ValueError, match=f"lora_request='style' adapts the input embedding .*{name}"):
        check_adapter(adapter(tmp_path, [ON_LAYER, name]))


def test_modules_speak_where_there_are_no_safetensors(tmp_path):
    check_adapter(adapter(tmp_path, targets="all-linear"))
    check_adapter(adapter(tmp_path, targets=["q_proj", "lm_head"]))
    with pytest.raises(ValueError, match="embed_tokens"):
        check_adapter(adapter(tmp_path, targets=["q_proj", "embed_tokens"]))


def test_an_adapter_in_memory_is_left_to_the_run(tmp_path):
    check_adapter(LoRARequest("step", 1, str(tmp_path / "in_memory")))


def test_verl_s_own_adapter_is_not_looked_for_on_the_hub(monkeypatch):
    (named,) = re.findall(r'^VLLM_LORA_PATH = "(.+)"$', source(VERL_NAMES).read_text(), re.MULTILINE)
    monkeypatch.setattr(adapters, "get_adapter_absolute_path", lambda path: pytest.fail(f"{path} was looked for"))
    check_adapter(LoRARequest("step", 1, named))


def test_a_folder_that_is_named_by_a_word_is_looked_at(tmp_path, monkeypatch):
    folder = tmp_path / "style"
    folder.mkdir()
    adapter(folder, targets=["embed_tokens"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="embed_tokens"):
        check_adapter(LoRARequest("style", 1, "style"))
