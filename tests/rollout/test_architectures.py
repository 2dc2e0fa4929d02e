"""Soft and ordinary requests of one batch against a plain Hugging Face loop, for one model of every kind of embedding.

A few of them by default. ``SOFTTHINK_TEST_ARCHITECTURES=FILE`` takes all, and appends their rows of the table in
``recipes/COMPATIBILITY.md`` to FILE.
"""

import os
import random
import re
from pathlib import Path

import pytest
import torch
from oracles.rollout import teacher_forced_logits
from support.architectures import ARCHITECTURES, make_model
from support.engine import CANDIDATES
from support.parity import LOG_DENSITY_TOLERANCE, compare_draws, response_inputs
from support.tiny_models import END_1, END_2, VOCABULARY
from transformers import AutoModelForCausalLM
from vllm import SamplingParams
from vllm.model_executor.models import registry

from verl_softthink.rollout.request import resolve
from verl_softthink.trace import unpack_rows

pytestmark = pytest.mark.vllm

TABLE = os.environ.get("SOFTTHINK_TEST_ARCHITECTURES")
QUICK = ["gemma3_transformers", "olmo2_transformers", "minicpm", "opt_projected", "cohere"]
DOCUMENT = Path(__file__).parents[2] / "recipes" / "COMPATIBILITY.md"
#: Two of ten requests are ordinary.
LAWS_OF_REQUESTS = [
    {"name": "gumbel", "tau": 0.3},
    {"name": "gaussian"},
    None,
    {"name": "multiplex"},
    {"name": "dirichlet", "concentration": 2.0},
    {"name": "concrete", "tau": 0.5},
    {"name": "gaussian", "fed": "seed", "normalise_over": "candidates"},
    None,
    {"name": "deterministic"},
    {"name": "discrete"},
]
LENGTH = 24
#: Of the logits that soft positions are drawn from.
STANDARD_DEVIATION = 3.0
#: Answers are compared where the best token is ahead by this much.
CLEAR = 1e-3


def settings_of(number: int, temperature: float) -> dict | None:
    law = LAWS_OF_REQUESTS[number]
    if law is None:
        return None
    return {
        "law": law,
        "filter": {"max_topk": CANDIDATES, "top_p": 0.95, "temperature": temperature},
        "phase": {"end_of_thinking": [END_1, END_2], "budget": 16},
        "seed": 100 + number,
    }


@pytest.fixture(autouse=True)
def looks_at_architectures_here(monkeypatch):
    """vLLM imports itself in a new process for each architecture that it has not seen on this machine."""
    monkeypatch.setattr(registry, "_run_in_subprocess", lambda look: look())


@pytest.mark.parametrize("name", list(ARCHITECTURES) if TABLE else QUICK)
def test_parity(name, engine_factory, tmp_path):
    path = make_model(tmp_path / name, name)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
    # The Transformers backend decorates the class of the decoder, for all of its objects.
    model.get_decoder().do_not_compile = True
    rng = random.Random(7)
    prompts = [[rng.randrange(5, VOCABULARY) for _ in range(rng.randrange(3, 60))] for _ in LAWS_OF_REQUESTS]
    with torch.no_grad():
        temperature = float(model(torch.tensor(prompts[:1])).logits.std()) / STANDARD_DEVIATION
    settings = [settings_of(number, temperature) for number in range(len(prompts))]
    llm = engine_factory(
        path,
        additional_config={"softthink": {"max_candidates": CANDIDATES, "carries_embeddings": True}},
        model_impl=ARCHITECTURES[name].backend,
        hf_overrides=ARCHITECTURES[name].overrides,
        num_gpu_blocks_override=64,
    )
    params = [
        SamplingParams(
            max_tokens=LENGTH, temperature=0, ignore_eos=True, extra_args=None if own is None else {"softthink": own}
        )
        for own in settings
    ]
    outputs = llm.generate([{"prompt_token_ids": prompt} for prompt in prompts], params, use_tqdm=False)
    embeddings = model.get_input_embeddings().weight.detach()
    drawn, soft, clear, gap = 0, 0, 0, 0.0
    for prompt, own, output in zip(prompts, settings, outputs, strict=True):
        completion = output.outputs[0]
        assert completion.finish_reason == "length", completion.stop_reason
        inputs, undecided = embeddings[torch.tensor(list(completion.token_ids))], torch.ones(LENGTH, dtype=torch.bool)
        if own is not None:
            request = resolve(own, max_tokens=LENGTH, width=CANDIDATES, carries_embeddings=True, tokenize=None)
            trace = unpack_rows(completion.routed_experts)
            inputs = response_inputs(embeddings, trace, completion.token_ids, own["law"], request.seed)
            undecided = ~trace.drawn & ~trace.forced
        logits = teacher_forced_logits(model, prompt, inputs)
        if own is not None:
            compared = compare_draws(trace, completion.token_ids, logits, request, embeddings)
            drawn, gap = drawn + compared.positions, max(gap, compared.largest_gap)
            soft += int(trace.soft.sum())
        best = logits.topk(2)
        for position in (undecided & (best.values[:, 0] - best.values[:, 1] > CLEAR)).nonzero()[:, 0].tolist():
            assert completion.token_ids[position] == int(best.indices[position, 0])
            clear += 1
    assert gap < LOG_DENSITY_TOLERANCE
    assert soft > 80 and clear > 60
    runs_as = type(llm.llm_engine.model_executor.driver_worker.worker.model_runner.get_model()).__name__
    if TABLE:
        with Path(TABLE).open("a", encoding="utf-8") as file:
            file.write(f"| `{name}` | `{runs_as}` | {ARCHITECTURES[name].about} | {drawn} | {gap:.1e} |\n")


def test_the_table_has_a_row_of_every_architecture():
    text = DOCUMENT.read_text(encoding="utf-8")
    table = text.partition("<!-- architectures -->")[2].partition("<!-- end -->")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.M) == list(ARCHITECTURES)
