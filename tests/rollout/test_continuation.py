"""Requests that continue a soft prefix, in a real vLLM engine against a plain Hugging Face loop.

Prefills in chunks of 48 tokens, a cache of about three requests (so that continuations are preempted and replay both
their prefix and their own positions), prefix caching on.
"""

import random
from dataclasses import replace

import pytest
import torch
from oracles.rollout import draw, teacher_forced_logits
from support.engine import CANDIDATES, ON_V2, SMALL_CACHE
from support.tiny_models import END_1, END_2, VOCABULARY, make_tiny_model
from transformers import AutoModelForCausalLM
from vllm import SamplingParams
from vllm.exceptions import VLLMValidationError

from verl_softthink.config.settings import LawSettings
from verl_softthink.laws import LAWS, NO_CANDIDATE, Action
from verl_softthink.laws.gaussian import coordinate_noise
from verl_softthink.rollout.prefix import encode_prefix
from verl_softthink.rollout.request import resolve
from verl_softthink.rollout.vllm import soft_runner
from verl_softthink.trace import unpack_rows

pytestmark = pytest.mark.vllm

EMBEDDING_TOLERANCE, LOG_DENSITY_TOLERANCE, FAULT = 1e-6, 1e-4, 1e-1
TOTAL = 40
REBUILT = {"name": "gaussian", "normalise_over": "candidates", "fed": "seed", "gamma": 0.5}
#: Law, budget and cut: inside a thought, between the two tokens of a forced marker (12 to 13), in an answer.
CASES = [
    ({"name": "gumbel", "tau": 0.5}, 40, 20),
    ({"name": "gaussian"}, 40, 17),
    (REBUILT, 25, 12),
    ({"name": "concrete", "tau": 1.0}, 12, 13),
    ({"name": "dirichlet", "concentration": 2.0}, 9, 15),
    ({"name": "multiplex"}, 30, 24),
    ({"name": "discrete"}, 40, 14),
]
GUMBEL, DISCRETE = 0, 6
#: Of the requests of a case, beside the first one's own.
OTHER_SEEDS = (900, 901)
#: The V2 runner's interpreted kernels take 0.1 s a step.
RUN_CASES = range(3) if ON_V2 else range(len(CASES))


def _settings(case, seed, prefix=None):
    law, budget, _ = CASES[case]
    return {
        "law": law,
        "filter": {"top_k": 5, "max_topk": 5},
        "phase": {"end_of_thinking": [END_1, END_2], "budget": budget},
        "seed": seed,
        "prefix": prefix,
    }


def _generate(llm, prompts, settings, lengths):
    params = [
        SamplingParams(max_tokens=n, temperature=0, ignore_eos=True, extra_args={"softthink": one})
        for n, one in zip(lengths, settings, strict=True)
    ]
    return llm.generate([{"prompt_token_ids": prompt} for prompt in prompts], params, use_tqdm=False)


def _prefix(case, trace):
    return encode_prefix(trace, LawSettings(**_settings(case, 0)["law"]))


def _own_trace(output, case, seed):
    trace = unpack_rows(output.outputs[0].routed_experts)
    return replace(trace, seed=torch.full((len(trace),), seed)) if CASES[case][0] is REBUILT else trace


def _prompt(seed, length=40):
    rng = random.Random(seed)
    return [rng.randrange(5, VOCABULARY) for _ in range(length)]


class Run:
    """First responses, their continuations, and every mixture that entered the model."""

    def __init__(self, llm, model):
        self.llm, self.model, self.table = llm, model, model.get_input_embeddings().weight.detach()
        self.prompts = [_prompt(case, 30 + 3 * case) for case in RUN_CASES]
        self.seeds = [100 + case for case in RUN_CASES]
        settings = [_settings(case, seed) for case, seed in enumerate(self.seeds)]
        self.first = _generate(llm, self.prompts, settings, [TOTAL] * len(RUN_CASES))
        self.traces = [_own_trace(output, case, self.seeds[case]) for case, output in enumerate(self.first)]
        self.asked = [
            (case, seed) for case in RUN_CASES for seed in (self.seeds[case], *(s + case for s in OTHER_SEEDS))
        ]

    def continuation(self, case):
        """The request: prompt, settings but for the seed, and room."""
        cut = CASES[case][2]
        tokens = list(self.first[case].outputs[0].token_ids)
        return self.prompts[case] + tokens[:cut], _prefix(case, self.traces[case].truncated(cut)), TOTAL - cut

    def continued(self):
        """All continuations at once: by case and seed the whole tokens, the whole trace and the engine's output."""
        requests = [self.continuation(case) for case, _ in self.asked]
        settings = [_settings(case, seed, r[1]) for (case, seed), r in zip(self.asked, requests, strict=True)]
        outputs = _generate(self.llm, [r[0] for r in requests], settings, [r[2] for r in requests])
        found = {}
        for (case, seed), (prompt, _, room), output in zip(self.asked, requests, outputs, strict=True):
            own = _own_trace(output, case, seed)
            assert len(own) == room
            tokens = prompt[len(self.prompts[case]) :] + list(output.outputs[0].token_ids)
            found[case, seed] = tokens, self.traces[case].truncated(CASES[case][2]).joined(own), output
        return found

    def inputs(self, case, tokens, trace):
        """Input embeddings [T, H] of a response, rebuilt from tokens and trace alone."""
        law = LawSettings(**CASES[case][0])
        weights = LAWS[law.name].weights(Action(ids=trace.ids.long(), values=trace.values), law.columns(len(trace)))
        inputs = self.table[torch.tensor(tokens)].clone()
        for position in trace.soft.nonzero()[:, 0].tolist():
            count = int((trace.ids[position] != NO_CANDIDATE).sum())
            inputs[position] = (weights[position, :count, None] * self.table[trace.ids[position, :count].long()]).sum(0)
        if trace.fed is not None:
            inputs = torch.where(trace.soft[:, None], trace.fed, inputs)
        if trace.seed is not None:
            noise = coordinate_noise(trace.seed, torch.arange(len(trace)), self.table.shape[1])
            inputs = torch.where(trace.soft[:, None], inputs + trace.scale[:, None] * noise, inputs)
        return inputs

    def gap(self, case, seed, tokens, trace):
        """The largest difference of a new position's log-density from the loop's, which must draw the same."""
        logits = teacher_forced_logits(self.model, self.prompts[case], self.inputs(case, tokens, trace))
        settings = {name: value for name, value in _settings(case, seed).items() if name != "prefix"}
        request = resolve(settings, max_tokens=TOTAL, width=CANDIDATES, carries_embeddings=True, tokenize=None)
        worst = 0.0
        for position in range(CASES[case][2], TOTAL):
            if trace.forced[position]:
                continue
            if not trace.drawn[position]:
                best = logits[position].topk(2)
                assert tokens[position] == int(best.indices[0]) or best.values[0] - best.values[1] < 1e-3
                continue
            expected = draw(logits[position], request, position, self.table)
            ids = trace.ids[position]
            if ids[ids != NO_CANDIDATE].tolist() != expected.ids or tokens[position] != expected.shown:
                return float("inf")
            log_prob = expected.log_prob if trace.soft[position] else expected.shown_log_prob
            worst = max(worst, abs(float(trace.log_prob[position]) - log_prob) / max(1.0, abs(log_prob) / 50))
        return worst


@pytest.fixture(scope="module")
def run(tmp_path_factory, engine_factory):
    path = make_tiny_model(tmp_path_factory.mktemp("model") / "llama", "llama", tied=False)
    config = {"softthink": {"max_candidates": CANDIDATES, "carries_embeddings": True}}
    llm = engine_factory(path, additional_config=config, **SMALL_CACHE)
    return Run(llm, AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval())


@pytest.fixture(scope="module")
def continued(run):
    """With every mixture that entered the model: by request and position, once for each time."""
    fed: dict[tuple[int, int], list] = {}
    mixture_embeddings = soft_runner.mixture_embeddings

    def recording(state, slots, index, embedding):
        mixed, soft = mixture_embeddings(state, slots, index, embedding)
        request_of = {slot: int(name.split("-")[0]) for name, slot in state._slot_of.items()}
        for row in soft.nonzero()[:, 0].tolist():
            fed.setdefault((request_of[int(slots[row])], int(index[row])), []).append(mixed[row].cpu())
        return mixed, soft

    soft_runner.mixture_embeddings = recording
    found = run.continued()
    soft_runner.mixture_embeddings = mixture_embeddings
    return found, fed


def test_continuations_draw_what_the_loop_draws_behind_the_soft_prefix(run, continued):
    for (case, seed), (tokens, trace, _) in continued[0].items():
        assert run.gap(case, seed, tokens, trace) < LOG_DENSITY_TOLERANCE, CASES[case]


def test_both_parts_are_fed_as_their_traces_say_also_after_preemption(run, continued):
    found, fed = continued
    checked, again = [0, 0], [0, 0]
    for (case, _), (tokens, trace, output) in found.items():
        inputs = run.inputs(case, tokens, trace)
        for position in trace.soft[:-1].nonzero()[:, 0].tolist():
            times = fed.get((int(output.request_id), position), [])
            own = position >= CASES[case][2]
            # What is found in the cache is not fed.
            assert times or not own
            for mixed in times:
                torch.testing.assert_close(mixed, inputs[position], rtol=0, atol=EMBEDDING_TOLERANCE)
            checked[own] += len(times)
            again[own] += max(0, len(times) - 1)
    assert min(checked) > 40
    assert min(again) > 0, "no continuation was preempted, so replay was not tested"


def test_thinking_goes_on_where_it_stood(run, continued):
    for (case, seed), (tokens, trace, _) in continued[0].items():
        _, budget, cut = CASES[case]
        assert trace.soft[:budget].all() and not trace.drawn[budget:].any()
        if budget < TOTAL:
            assert tokens[budget : budget + 2] == [END_1, END_2] and trace.end_reason == "budget"
            assert trace.forced.nonzero()[:, 0].tolist() == [budget, budget + 1]
        if cut < budget and seed != run.seeds[case]:
            assert tokens[cut:] != list(run.first[case].outputs[0].token_ids[cut:])


def test_siblings_share_the_prefix_and_nothing_else(run, continued):
    for case in RUN_CASES:
        _, budget, cut = CASES[case]
        one, two = (continued[0][case, seed + case] for seed in OTHER_SEEDS)
        assert one[0][:cut] == two[0][:cut] and torch.equal(one[1].values[:cut], two[1].values[:cut])
        if cut + 1 < budget:
            drawn = [torch.cat([trace.ids, trace.values], dim=-1)[cut:budget] for _, trace, _ in (one, two)]
            assert not torch.equal(*drawn)


def test_with_its_own_seed_a_continuation_repeats_the_uninterrupted_rollout(run, continued):
    """Ordinary tokens to the end; soft ones for as long as a rounding has not grown (about tenfold a step)."""
    for case in RUN_CASES:
        cut = CASES[case][2]
        tokens, trace, _ = continued[0][case, run.seeds[case]]
        whole = run.traces[case]
        until = TOTAL if case == DISCRETE else min(cut + 3, TOTAL)
        assert tokens[:until] == list(run.first[case].outputs[0].token_ids[:until])
        assert torch.equal(trace.ids[:until], whole.ids[:until]) and torch.equal(trace.drawn, whole.drawn)
        torch.testing.assert_close(trace.values[:until], whole.values[:until], rtol=1e-3, atol=1e-3)


def test_a_prefix_fed_as_tokens_would_be_seen(run, monkeypatch):
    """The control: the rows of the prefix are left out."""
    feed = soft_runner.SoftRunner._feed

    def own_only(self, rows, slots, index):
        own = index.numpy() >= self.state.soft_prefix_length[slots.numpy()]
        if own.any():
            feed(self, rows[own], slots[own], index[own])

    monkeypatch.setattr(soft_runner.SoftRunner, "_feed", own_only)
    run.llm.reset_prefix_cache()
    prompt, prefix, room = run.continuation(GUMBEL)
    (output,) = _generate(run.llm, [prompt], [_settings(GUMBEL, 5, prefix)], [room])
    run.llm.reset_prefix_cache()
    tokens = prompt[len(run.prompts[GUMBEL]) :] + list(output.outputs[0].token_ids)
    trace = run.traces[GUMBEL].truncated(CASES[GUMBEL][2]).joined(_own_trace(output, GUMBEL, 5))
    assert run.gap(GUMBEL, 5, tokens, trace) > FAULT


def test_cached_blocks_are_shared_only_where_the_same_was_fed(run):
    """A prompt of one block and a bit, and a prefix that fills the second block."""
    run.llm.reset_prefix_cache()
    prompt, cut = _prompt(77, 34), 31
    (first,) = _generate(run.llm, [prompt], [_settings(GUMBEL, 7)], [TOTAL])
    tokens = prompt + list(first.outputs[0].token_ids[:cut])
    trace = unpack_rows(first.outputs[0].routed_experts).truncated(cut)
    # The same candidates and shown tokens, other weights.
    several = (trace.ids != NO_CANDIDATE).sum(-1) > 1
    other = replace(trace, values=trace.values.where(~several[:, None] | (trace.ids == NO_CANDIDATE), trace.values / 2))
    assert several[:20].any()

    def cached(trace, seed=8):
        settings = _settings(GUMBEL, seed, None if trace is None else _prefix(GUMBEL, trace))
        if trace is None:
            settings = {**settings, "phase": {"end_of_thinking": [END_1, END_2], "budget": 5}}
        (output,) = _generate(run.llm, [tokens], [settings], [TOTAL - cut])
        return output.num_cached_tokens, unpack_rows(output.outputs[0].routed_experts)

    assert cached(None)[0] == 32
    assert cached(trace)[0] == 64
    assert cached(trace, seed=9)[0] == 64
    from_other_blocks, moved = cached(other)
    assert from_other_blocks == 32
    assert cached(other)[0] == 64
    assert not torch.allclose(moved.values[0], cached(trace)[1].values[0], atol=FAULT)


def _with(case, **changes):
    return lambda prompt, trace: (prompt, _prefix(case, replace(trace, **changes)))


def _encoded(case, **changes):
    return lambda prompt, trace: (prompt, _prefix(case, trace) | changes)


@pytest.mark.parametrize(
    ("case", "spoil", "message"),
    [
        (GUMBEL, lambda prompt, trace: (prompt[:-1], _prefix(GUMBEL, trace)), "none is the prompt's token"),
        (GUMBEL, _with(GUMBEL, ids=torch.full((20, 6), VOCABULARY)), "position 0 .*outside the vocabulary of 300"),
        (GUMBEL, _encoded(GUMBEL, rows=b"1234567"), "7 bytes, which are not"),
        (GUMBEL, _encoded(GUMBEL, length=0), "softthink.prefix.length=0"),
        (GUMBEL, _encoded(1), "was drawn by .*gaussian.*softthink.law is .*gumbel"),
        (1, _with(1, fed=None), "no fed embeddings, and the law 'gaussian' with law.fed='embedding'"),
        (1, _with(1, fed=torch.zeros(17, 32)), "embeddings of 32 numbers, and the model's have 64"),
        (4, _with(4, forced=torch.arange(15) == 9), "position 9 .budget. and goes on with"),
    ],
)
def test_a_wrong_prefix_is_refused_by_name(run, case, spoil, message):
    cut = CASES[case][2]
    prompt = run.prompts[case] + list(run.first[case].outputs[0].token_ids[:cut])
    prompt, prefix = spoil(prompt, run.traces[case].truncated(cut))
    with pytest.raises(VLLMValidationError, match=message):
        _generate(run.llm, [prompt], [_settings(case, 1, prefix)], [TOTAL - cut])
