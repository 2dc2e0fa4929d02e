"""Adapters of soft requests: on the input embedding they are refused, elsewhere taken."""

import copy
import json
import re

import pytest
import torch
from oracles.rollout import teacher_forced_logits
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from support.engine import CANDIDATES
from support.parity import LOG_DENSITY_TOLERANCE, compare_draws, response_inputs
from support.tiny_models import make_tiny_model
from transformers import AutoModelForCausalLM
from upstream.sources import source
from vllm import SamplingParams
from vllm.exceptions import VLLMValidationError
from vllm.lora.request import LoRARequest

from verl_softthink.rollout.request import resolve
from verl_softthink.rollout.vllm import adapters
from verl_softthink.rollout.vllm.adapters import check_adapter
from verl_softthink.trace import unpack_rows

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


@pytest.fixture(scope="module")
def served(engine_factory, tmp_path_factory):
    """An engine with room for an adapter, one on its attention, and the models without it and with it merged."""
    folder = tmp_path_factory.mktemp("adapted")
    path = make_tiny_model(folder / "qwen3", "qwen3", tied=True)
    plain = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
    adapted = get_peft_model(copy.deepcopy(plain), LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]))
    torch.manual_seed(0)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    adapted.save_pretrained(folder / "on_attention")
    llm = engine_factory(path, enable_lora=True, max_lora_rank=8, max_loras=1)
    return llm, LoRARequest("on_attention", 1, str(folder / "on_attention")), plain, adapted.merge_and_unload()


def test_an_adapter_on_attention_is_served_as_its_merged_weights(served):
    """And requests without one as the plain weights.

    Each in batches of their own: on a CPU vLLM 0.28 gives the adapter to all of a batch, ordinary requests too.
    """
    llm, on_attention, plain, merged = served
    law, tokens = {"name": "gumbel", "tau": 0.5}, 16
    prompt = [5 + 3 * i for i in range(30)]
    settings = [
        {"law": law, "filter": {"max_topk": 5}, "phase": {"end_of_thinking": [3, 4]}, "seed": seed} for seed in range(4)
    ]
    params = [
        SamplingParams(max_tokens=tokens, temperature=0, ignore_eos=True, extra_args={"softthink": own})
        for own in settings
    ]
    outputs = [
        output
        for own, chosen in ((params[:2], on_attention), (params[2:], None))
        for output in llm.generate([{"prompt_token_ids": prompt}] * 2, own, lora_request=chosen, use_tqdm=False)
    ]
    table = plain.get_input_embeddings().weight.detach()
    shown = []
    for own, model, output in zip(settings, [merged] * 2 + [plain] * 2, outputs, strict=True):
        completion = output.outputs[0]
        trace = unpack_rows(completion.routed_experts)
        request = resolve(own, max_tokens=tokens, width=CANDIDATES, tokenize=None)
        inputs = response_inputs(table, trace, completion.token_ids, law, request.seed)
        logits = teacher_forced_logits(model, prompt, inputs)
        compared = compare_draws(trace, completion.token_ids, logits, request, table)
        assert compared.positions > 4 and compared.largest_gap < LOG_DENSITY_TOLERANCE
        shown.append(tuple(completion.token_ids))
    assert len(set(shown)) == 4


def test_the_engine_refuses_one_on_the_input_embedding_and_goes_on(served, tmp_path):
    llm, *_ = served
    on_embedding = adapter(tmp_path, ["base_model.model.model.embed_tokens.lora_embedding_A"])
    params = SamplingParams(max_tokens=4, temperature=0, extra_args={"softthink": {"phase": {"end_of_thinking": [3]}}})
    prompt = {"prompt_token_ids": [5, 6, 7]}
    with pytest.raises(VLLMValidationError, match="lora_request='style' adapts the input embedding"):
        llm.generate([prompt], params, lora_request=on_embedding, use_tqdm=False)
    assert llm.generate([prompt], params, use_tqdm=False)[0].outputs[0].token_ids
