"""Models that look their inputs up otherwise than in one call for the batch: soft requests end, nobody else notices."""

import copy

import pytest
import torch
from support.engine import CANDIDATES
from support.tiny_models import VOCABULARY, make_tiny_model
from torch import nn
from vllm import SamplingParams
from vllm.model_executor.models.qwen3 import Qwen3Model

from verl_softthink.rollout.vllm.embedding import SoftVocabParallelEmbedding, find_token_embedding
from verl_softthink.trace import FAILURES

pytestmark = pytest.mark.vllm

PROMPTS = [[5 + (start + 7 * i) % (VOCABULARY - 5) for i in range(20 + start)] for start in range(4)]
MAX_TOKENS = 10
#: Lookups of ids [T] that give an ordinary request what one call gives it.
LOOKUPS = {
    "in halves": lambda table, ids: torch.cat([table(part) for part in ids.chunk(2)]),
    "token by token": lambda table, ids: torch.cat([table(part) for part in ids.split(1)]),
    "as a column": lambda table, ids: table(ids[:, None])[:, 0],
    "several times over": lambda table, ids: table(ids.expand(2, 1, -1))[0, 0],
}


@pytest.fixture(scope="module")
def llm(engine_factory, tmp_path_factory):
    path = make_tiny_model(tmp_path_factory.mktemp("model") / "qwen3", "qwen3", tied=True)
    return engine_factory(path, additional_config={"softthink": {"max_candidates": CANDIDATES}})


def generate(llm, soft: bool):
    """Soft and ordinary requests by turns in one batch; or ordinary ones alone."""
    settings = {"softthink": {"phase": {"end_of_thinking": [3, 4], "budget": 8}, "filter": {"max_topk": 5}, "seed": 1}}
    params = [
        SamplingParams(
            max_tokens=MAX_TOKENS,
            temperature=0,
            ignore_eos=True,
            extra_args=settings if soft and number % 2 else None,
        )
        for number in range(len(PROMPTS))
    ]
    outputs = llm.generate([{"prompt_token_ids": prompt} for prompt in PROMPTS], params, use_tqdm=False)
    return [output.outputs[0] for output in outputs]


@pytest.fixture(scope="module")
def alone(llm):
    return [list(completion.token_ids) for completion in generate(llm, soft=False)]


@pytest.mark.parametrize("name", LOOKUPS)
def test_soft_requests_end_with_the_reason_and_ordinary_ones_get_their_tokens(llm, alone, monkeypatch, name):
    monkeypatch.setattr(Qwen3Model, "embed_input_ids", lambda self, ids: LOOKUPS[name](self.embed_tokens, ids))
    completions = generate(llm, soft=True)
    for number, completion in enumerate(completions):
        if number % 2:
            assert completion.finish_reason == "error" and completion.stop_reason == f"softthink: {FAILURES['not_fed']}"
            # The prompt's draw, and the stop token of the step that was to be fed it.
            assert len(completion.token_ids) == 2
        else:
            assert list(completion.token_ids) == alone[number]


@pytest.mark.parametrize("name", ["in one call", "as a batch of one", "padded"])
def test_the_whole_batch_in_one_call_is_fed(llm, alone, monkeypatch, name):
    lookup = {
        "in one call": lambda table, ids: table(ids),
        "as a batch of one": lambda table, ids: table(ids[None])[0],
        "padded": lambda table, ids: table(torch.cat((ids, ids[:1])))[:-1],
    }[name]
    monkeypatch.setattr(Qwen3Model, "embed_input_ids", lambda self, ids: lookup(self.embed_tokens, ids))
    completions = generate(llm, soft=True)
    assert [completion.finish_reason for completion in completions] == ["length"] * len(PROMPTS)
    assert [list(completion.token_ids) for completion in completions[::2]] == alone[::2]


def test_a_model_with_two_embeddings_or_none_is_refused_by_name(llm):
    model = llm.llm_engine.model_executor.driver_worker.worker.model_runner.get_model()
    assert isinstance(find_token_embedding(model), SoftVocabParallelEmbedding)
    table = model.model.embed_tokens
    for tables, found in (
        ({}, r"\[\]"),
        ({"embed": table, "per_layer": copy.deepcopy(table)}, r"\['embed', 'per_layer'\]"),
    ):
        with pytest.raises(RuntimeError, match=f"ModuleDict has {found} where it must have one VocabParallelEmbedding"):
            find_token_embedding(nn.ModuleDict(tables))
    # A tied head is the same table under another name.
    assert find_token_embedding(nn.ModuleDict({"embed": table, "lm_head": table})) is table
