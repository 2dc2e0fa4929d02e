"""An aborted response goes on as if nobody had aborted it: verl's client in front of a real vLLM engine.

The engine computes one token at a time, prompts as well, so that a prefix is computed as it was when it was drawn and
what is compared is equal to the last bit. Prefix caching is on; a response fills several blocks of it.
"""

import asyncio
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.engine import CANDIDATES, ON_V2
from support.tiny_models import END_1, END_2, VOCABULARY, make_tiny_model

pytest.importorskip("verl")
from verl.workers.rollout import llm_server
from verl.workers.rollout.replica import TokenOutput
from vllm import SamplingParams

from verl_softthink.rollout.async_client import SoftLLMServerClient
from verl_softthink.rollout.fields import ROWS_FIELD, VERSIONS_FIELD
from verl_softthink.trace import unpack_rows

pytestmark = pytest.mark.vllm

TOKENS = 22
TOKEN_MARKER = {"end_of_thinking": [END_1, END_2]}
#: Stands for the two tokens that the response shows here, where nothing ends it: the law draws its own marker.
DRAWN_AT = 7
#: What a response passes through: a thought without an end, one that ends by itself or is cut short, a text marker with
#: a lead-in, a cold stop, an answer prefix and a budget of the answer, blocks of ordinary tokens.
CASES = {
    "gumbel": ({"name": "gumbel", "tau": 0.5}, TOKEN_MARKER | {"budget": 9}),
    "gumbel-no-budget": ({"name": "gumbel", "tau": 0.5}, TOKEN_MARKER),
    "gumbel-marker": ({"name": "gumbel", "tau": 0.5}, {"end_of_thinking": DRAWN_AT, "answer_prefix": [20, 21]}),
    "gumbel-text": (
        {"name": "gumbel", "tau": 1.0},
        {"end_of_thinking": "</ think>", "budget": 7, "lead_in": "w9 </ think>"},
    ),
    "gaussian": ({"name": "gaussian"}, TOKEN_MARKER | {"cold_entropy": 9.0, "cold_length": 8}),
    "gaussian-rebuilt": (
        {"name": "gaussian", "normalise_over": "candidates", "fed": "seed"},
        TOKEN_MARKER | {"budget": 12},
    ),
    "multiplex": ({"name": "multiplex"}, TOKEN_MARKER | {"budget": 6, "answer_budget": 7}),
    "discrete": ({"name": "discrete"}, TOKEN_MARKER | {"budget": 15, "answer_prefix": [20, 21, 22]}),
    "dirichlet-switching": (
        {"name": "dirichlet", "concentration": 2.0},
        TOKEN_MARKER | {"switches": 3, "switch_window": 2},
    ),
}
#: The V2 runner's interpreted kernels take 0.1 s a step: fewer cases and cuts.
RUN_CASES = ["gumbel", "gaussian"] if ON_V2 else list(CASES)
EVERY, ROUNDS = (6, 1) if ON_V2 else (1, 2)
STEP_OF_FIRST_ATTEMPT = 4


class Server:
    """verl's server for one engine in this process: an attempt is aborted once it has so many tokens."""

    def __init__(self, llm):
        self.engine = llm.llm_engine
        self.generate = SimpleNamespace(remote=self._generate)
        self.aborts: list[int] = []
        self.attempts = 0

    async def _generate(self, request_id, prompt_ids, sampling_params, image_data, video_data):
        room = self.aborts.pop(0) if self.aborts else TOKENS
        step = STEP_OF_FIRST_ATTEMPT + self.attempts
        self.attempts += 1
        params = SamplingParams(**sampling_params | {"temperature": 0, "ignore_eos": False})
        self.engine.add_request(request_id, {"prompt_token_ids": prompt_ids}, params)
        (state,) = self.engine.output_processor.request_states.values()
        tokens, finished = [], False
        while not finished and len(tokens) < room:
            for output in self.engine.step():
                tokens, finished = list(output.outputs[0].token_ids), output.finished
        self.engine.abort_request([request_id])
        rows = {ROWS_FIELD: np.concatenate(state.routed_experts_chunks)} if tokens else {}
        return TokenOutput(
            token_ids=tokens,
            log_probs=[0.0] * len(tokens),
            stop_reason="completed" if finished else "aborted",
            extra_fields={"global_steps": step} | rows,
        )


class Client(SoftLLMServerClient):
    """Without a load balancer: there is one server."""

    drawn_marker: dict

    def __init__(self, server: Server):
        super().__init__(SimpleNamespace(actor_rollout_ref=SimpleNamespace(rollout=SimpleNamespace(name="vllm"))))
        self.server = server

    async def _acquire_server(self, request_id, **extra):
        return "server", self.server

    def _release_server(self, server_id, request_id=None):
        pass


@pytest.fixture(scope="module")
def client(tmp_path_factory, engine_factory):
    path = make_tiny_model(tmp_path_factory.mktemp("model") / "llama", "llama", tied=False)
    config = {"softthink": {"max_candidates": CANDIDATES, "carries_embeddings": True}}
    one_at_a_time = {"max_num_seqs": 1, "max_num_batched_tokens": 1, "max_model_len": 96, "block_size": 32}
    client = Client(Server(engine_factory(path, additional_config=config, **one_at_a_time)))
    shown = respond(client, *CASES["gumbel-no-budget"]).token_ids
    client.drawn_marker = {"end_of_thinking": shown[DRAWN_AT : DRAWN_AT + 2]}
    return client


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    """verl's client waits a second before it sends a request again."""

    async def sleep(seconds):
        pass

    monkeypatch.setattr(llm_server, "asyncio", SimpleNamespace(sleep=sleep))


def response(client, case, aborts=()):
    law, phase = CASES[case]
    return respond(client, law, phase | client.drawn_marker if phase["end_of_thinking"] == DRAWN_AT else phase, aborts)


def respond(client, law, phase, aborts=()):
    request = {"law": law, "filter": {"top_k": 5, "max_topk": 5}, "phase": phase, "seed": 11}
    rng = random.Random(0)
    prompt = [rng.randrange(5, VOCABULARY) for _ in range(20)]
    client.server.aborts, client.server.attempts = list(aborts), 0
    output = asyncio.run(
        client.generate(
            "r", prompt_ids=prompt, sampling_params={"max_tokens": TOKENS, "extra_args": {"softthink": request}}
        )
    )
    assert not client.server.aborts
    return output


@pytest.fixture(scope="module")
def whole(client):
    return {case: response(client, case) for case in RUN_CASES}


def assert_same(output, expected):
    assert output.token_ids == expected.token_ids and output.stop_reason == expected.stop_reason
    assert np.array_equal(output.extra_fields[ROWS_FIELD], expected.extra_fields[ROWS_FIELD])


@pytest.mark.parametrize("case", RUN_CASES)
def test_a_response_aborted_at_any_position_is_the_same_to_the_last_bit(client, whole, case):
    expected = whole[case]
    length = len(expected.token_ids)
    trace = unpack_rows(expected.extra_fields[ROWS_FIELD])
    assert trace.soft.sum() > 3
    for cut in range(1, length, EVERY):
        output = response(client, case, [cut])
        assert_same(output, expected)
        versions = [STEP_OF_FIRST_ATTEMPT] * cut + [STEP_OF_FIRST_ATTEMPT + 1] * (length - cut)
        assert output.extra_fields[VERSIONS_FIELD] == versions


@pytest.mark.parametrize("case", RUN_CASES)
def test_a_response_aborted_often_is_the_same(client, whole, case):
    """Also before a first token, and without what is in the cache."""
    expected, rng = whole[case], random.Random(case)
    length = len(expected.token_ids)
    for round_ in range(ROUNDS):
        cuts = sorted(rng.sample(range(1, length), 5))
        aborts = [after - before for before, after in zip([0, *cuts], cuts, strict=False)]
        aborts.insert(rng.randrange(len(aborts)), 0)
        if round_ % 2:
            client.server.engine.reset_prefix_cache()
        output = response(client, case, aborts)
        assert_same(output, expected)
        assert len(set(output.extra_fields[VERSIONS_FIELD])) == 6
    if not ON_V2:
        assert_same(response(client, case, [1] * (length - 1)), expected)


@pytest.mark.skipif(ON_V2, reason="a few of the cases")
def test_the_cases_pass_through_every_phase(whole):
    traces = [unpack_rows(output.extra_fields[ROWS_FIELD]) for output in whole.values()]
    assert {"none", "marker", "budget", "cold_stop"} <= {trace.end_reason for trace in traces}
    for kind in ("soft", "forced", "discrete", "cut"):
        assert any(torch.as_tensor(getattr(trace, kind)).any() for trace in traces), kind
    assert any((~(trace.drawn | trace.forced | trace.discrete)).any() for trace in traces)
