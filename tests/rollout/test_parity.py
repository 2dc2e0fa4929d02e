"""Soft rollouts of a real vLLM engine against a plain Hugging Face loop, preemption and chunked prefill included."""

import random
from typing import NamedTuple

import pytest
import torch
from oracles.rollout import rollout, teacher_forced_logits
from support.engine import CANDIDATES, RANKS, SMALL_CACHE, WIDEST_MIXTURE
from support.parity import LOG_DENSITY_TOLERANCE, compare_draws, response_inputs
from support.tiny_models import END_1, END_2, VOCABULARY, make_tiny_model
from transformers import AutoModelForCausalLM
from vllm import SamplingParams

from verl_softthink.rollout.request import resolve
from verl_softthink.rollout.vllm import soft_runner
from verl_softthink.trace import unpack_rows

pytestmark = pytest.mark.vllm

#: Architecture, whether the head is tied to the table, and the engine's candidate slots.
MODELS = [
    ("llama", False, CANDIDATES),
    ("llama", True, CANDIDATES),
    ("qwen2", True, WIDEST_MIXTURE),
    ("qwen3", False, CANDIDATES),
]
#: Every fourth is ordinary, so that each of the laws below has one.
REQUESTS = 24
EMBEDDING_TOLERANCE = 1e-6
MARKER = [END_1, END_2]
watches_the_embedding = pytest.mark.skipif(RANKS > 1, reason="ranks feed their model in processes of their own")


LAW_SETTINGS = [
    {"name": "gumbel", "tau": 0.1},
    {"name": "gaussian"},
    {"name": "concrete", "tau": 1.0, "noise_scale": 0.7},
    {"name": "multiplex"},
    {"name": "dirichlet", "concentration": 2.0},
    {"name": "gaussian", "normalise_over": "candidates", "fed": "seed", "gamma": 0.5},
    {"name": "deterministic"},
    {"name": "mixture_of_inputs", "beta": 0.5},
    {"name": "discrete"},
    {"name": "gaussian", "normalise_over": "candidates"},
    {"name": "multiplex", "draws": CANDIDATES, "weighting": "probability"},
    {"name": "gaussian", "gamma": 0.0},
    {"name": "gumbel", "tau": 0.5, "noise_scale": 0.7},
    {"name": "dirichlet", "concentration": 0.3},
    {"name": "concrete", "tau": 0.1},
    {"name": "gaussian", "shown": "sampled"},
    {"name": "gaussian", "normalise_over": "candidates", "fed": "seed", "covariance": "candidates", "shown": "sampled"},
]


class Run(NamedTuple):
    """One generation.

    Attributes:
        width: candidate slots of the engine.
        settings: of each request; None for an ordinary one.
        fed: every mixture that entered the model, by request and output index.
        refed: how many of them had been fed before.
    """

    model: torch.nn.Module
    width: int
    prompts: list[list[int]]
    lengths: list[int]
    settings: list[dict | None]
    outputs: list
    fed: dict[tuple[str, int], list[torch.Tensor]]
    refed: int

    def request(self, i: int):
        """The resolved settings of a soft request."""
        return resolve(
            self.settings[i], max_tokens=self.lengths[i], width=self.width, carries_embeddings=True, tokenize=None
        )

    def inputs(self, i: int, trace):
        """The embeddings that its response was fed, by its trace."""
        table = self.model.get_input_embeddings().weight.detach()
        tokens = self.outputs[i].outputs[0].token_ids
        return response_inputs(table, trace, tokens, self.settings[i]["law"], self.request(i).seed)


def _settings(index: int, width: int) -> dict | None:
    """A mixed batch: every fourth request is ordinary, the others go through the laws, filters and budgets."""
    if index % 4 == 3:
        return None
    law = LAW_SETTINGS[(index - index // 4) % len(LAW_SETTINGS)]
    return {
        "law": law,
        "filter": {
            "top_k": (5, 0, 2 * width)[index % 3],
            "top_p": (0.95, 1.0, 0.8)[index % 3],
            "min_p": (0.0, 0.02)[index % 2],
            "max_topk": (5, 3, width)[index % 3],
            "temperature": (1.0, 0.8)[index % 2],
        },
        "phase": {"end_of_thinking": MARKER, "budget": (9, 25, 16)[index % 3]},
        "seed": 1000 + index,
        "record_entropy": index % 2 == 0,
    }


@pytest.fixture(scope="module", params=MODELS, ids=lambda m: f"{m[0]}-{'tied' if m[1] else 'untied'}-{m[2]}")
def run(request, tmp_path_factory, engine_factory):
    """One generation of mixed requests, with every mixture that entered the model written down."""
    architecture, tied, width = request.param
    path = make_tiny_model(tmp_path_factory.mktemp("model") / architecture, architecture, tied=tied)
    config = {"softthink": {"max_candidates": width, "carries_embeddings": True}}
    llm = engine_factory(path, additional_config=config, **SMALL_CACHE)
    fed, refed = {}, 0
    mixture_embeddings = soft_runner.mixture_embeddings

    def recording(state, slots, index, embedding):
        nonlocal refed
        mixed, soft = mixture_embeddings(state, slots, index, embedding)
        request_of = {slot: name for name, slot in state._slot_of.items()}
        for row in soft.nonzero()[:, 0].tolist():
            key = (request_of[int(slots[row])].split("-")[0], int(index[row]))
            refed += key in fed
            fed.setdefault(key, []).append(mixed[row].cpu())
        return mixed, soft

    soft_runner.mixture_embeddings = recording
    rng = random.Random(7)
    prompts = [[rng.randrange(5, VOCABULARY) for _ in range(rng.randrange(3, 90))] for _ in range(REQUESTS)]
    lengths = [(30, 45, 18)[i % 3] for i in range(REQUESTS)]
    settings = [_settings(i, width) for i in range(REQUESTS)]
    params = [
        SamplingParams(
            max_tokens=lengths[i],
            temperature=0,
            logprobs=0,
            ignore_eos=True,
            extra_args={"softthink": settings[i]} if settings[i] else None,
        )
        for i in range(REQUESTS)
    ]
    outputs = llm.generate([{"prompt_token_ids": p} for p in prompts], params, use_tqdm=False)
    soft_runner.mixture_embeddings = mixture_embeddings
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
    return Run(model, width, prompts, lengths, settings, outputs, fed, refed)


@watches_the_embedding
def test_soft_positions_were_fed_again_after_preemption(run):
    """The control of the whole module: without preemption it would not test replay."""
    assert run.refed > 0


def test_every_soft_request_returns_a_trace_of_its_length(run):
    for i, output in enumerate(run.outputs):
        completion = output.outputs[0]
        if run.settings[i] is None:
            assert completion.routed_experts is None
        else:
            trace = unpack_rows(completion.routed_experts)
            assert len(trace) == len(completion.token_ids) == run.lengths[i]


@watches_the_embedding
def test_embeddings_fed_are_those_of_the_trace(run):
    """Also those fed again after preemption."""
    checked = 0
    for i, output in enumerate(run.outputs):
        if run.settings[i] is None:
            continue
        trace = unpack_rows(output.outputs[0].routed_experts)
        inputs = run.inputs(i, trace)
        for position in trace.soft.nonzero()[:-1, 0].tolist():
            for mixed in run.fed[str(i), position]:
                torch.testing.assert_close(mixed, inputs[position], rtol=0, atol=EMBEDDING_TOLERANCE)
                checked += 1
    assert checked > 150


def test_candidates_values_and_densities_match_the_teacher_forced_loop(run):
    drawn = 0
    table = run.model.get_input_embeddings().weight.detach()
    for i, output in enumerate(run.outputs):
        settings = run.settings[i]
        if settings is None:
            continue
        completion = output.outputs[0]
        trace = unpack_rows(completion.routed_experts)
        logits = teacher_forced_logits(run.model, run.prompts[i], run.inputs(i, trace))
        compared = compare_draws(trace, completion.token_ids, logits, run.request(i), table)
        assert compared.largest_gap < LOG_DENSITY_TOLERANCE
        drawn += compared.positions
        for position in trace.drawn.nonzero()[:, 0].tolist():
            reported = completion.logprobs[position][completion.token_ids[position]].logprob
            assert reported == float(trace.log_prob[position])
    assert drawn > 200


def test_tokens_match_the_free_running_loop_before_rounding_is_amplified(run):
    """Soft rollouts are chaotic (a relative 1e-7 grows by about ten a step), so only the first positions can agree."""
    steps = 4
    for i, output in enumerate(run.outputs):
        if run.settings[i] is None:
            continue
        tokens, positions, soft = rollout(run.model, run.prompts[i], run.request(i), max_tokens=steps)
        assert list(output.outputs[0].token_ids[:steps]) == tokens
        trace = unpack_rows(output.outputs[0].routed_experts)
        assert trace.soft[:steps].tolist() == soft
        assert trace.drawn[:steps].tolist() == [position is not None for position in positions]


def test_budget_forces_the_whole_marker_and_answers_are_greedy_afterwards(run):
    budget_ends = answers = 0
    for i, output in enumerate(run.outputs):
        settings = run.settings[i]
        if settings is None:
            continue
        completion = output.outputs[0]
        trace = unpack_rows(completion.routed_experts)
        budget = settings["phase"]["budget"]
        if trace.end_reason == "budget":
            budget_ends += 1
            stop = min(budget + 2, run.lengths[i])
            assert list(completion.token_ids[budget:stop]) == MARKER[: stop - budget]
            assert trace.forced.nonzero()[:, 0].tolist() == list(range(budget, stop))
            assert trace.soft[:budget].all()
            assert not trace.drawn[budget:].any()
        logits = teacher_forced_logits(run.model, run.prompts[i], run.inputs(i, trace))
        for position in range(len(trace)):
            if not trace.drawn[position] and not trace.forced[position]:
                best = logits[position].topk(2)
                if best.values[0] - best.values[1] > 1e-3:
                    assert completion.token_ids[position] == int(best.indices[0])
                    answers += 1
    assert budget_ends >= 8
    assert answers > 40


def test_entropy_is_recorded_where_asked_and_only_there(run):
    for i, output in enumerate(run.outputs):
        settings = run.settings[i]
        if settings is None:
            continue
        trace = unpack_rows(output.outputs[0].routed_experts)
        logits = teacher_forced_logits(run.model, run.prompts[i], run.inputs(i, trace)).double()
        log_probs = (logits / settings["filter"]["temperature"]).log_softmax(-1)
        expected = -(log_probs.exp() * log_probs).sum(-1)
        if settings["record_entropy"]:
            torch.testing.assert_close(trace.entropy.double(), expected, rtol=0, atol=1e-3)
