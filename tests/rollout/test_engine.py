"""Markers, cold stops, prefix caching and refusals in a real vLLM engine."""

import random

import pytest
import torch
from oracles.rollout import rollout, teacher_forced_logits
from support.engine import CANDIDATES
from support.tiny_models import EOS, VOCABULARY, make_tiny_model
from transformers import AutoModelForCausalLM
from vllm import SamplingParams
from vllm.exceptions import VLLMValidationError
from vllm.sampling_params import RepetitionDetectionParams

from verl_softthink.rollout.request import resolve
from verl_softthink.trace import unpack_rows

pytestmark = pytest.mark.vllm


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return make_tiny_model(tmp_path_factory.mktemp("model") / "qwen3", "qwen3", tied=False)


@pytest.fixture(scope="module")
def llm(engine_factory, path):
    return engine_factory(path, block_size=16)


@pytest.fixture(scope="module")
def model(path):
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()


def _prompt(seed, length=40):
    rng = random.Random(seed)
    return [rng.randrange(5, VOCABULARY) for _ in range(length)]


def _settings(**changes):
    base = {
        "law": {"name": "gumbel", "tau": 0.5},
        "filter": {"top_k": 5, "top_p": 0.95, "max_topk": 5},
        "phase": {"end_of_thinking": [3, 4], "budget": 30},
        "seed": 11,
    }
    return {
        name: value | changes.get(name, {}) if isinstance(value, dict) else changes.get(name, value)
        for name, value in base.items()
    } | {name: value for name, value in changes.items() if name not in base}


def _generate(llm, prompt, settings, max_tokens=40, **sampling):
    arguments = {"temperature": 0, "logprobs": 0, "ignore_eos": True} | sampling
    params = SamplingParams(
        max_tokens=max_tokens, extra_args=None if settings is None else {"softthink": settings}, **arguments
    )
    return llm.generate([{"prompt_token_ids": prompt}], params, use_tqdm=False)[0]


def test_a_marker_of_several_tokens_ends_thinking_only_when_complete(llm):
    prompt = _prompt(1)
    free = list(_generate(llm, prompt, _settings(phase={"budget": 40})).outputs[0].token_ids)
    end = next(i for i in range(6, 30) if free[i - 1 : i + 1] not in [free[j - 1 : j + 1] for j in range(1, i)])
    marker = free[end - 1 : end + 1]
    output = _generate(llm, prompt, _settings(phase={"end_of_thinking": marker, "budget": 40})).outputs[0]
    trace = unpack_rows(output.routed_experts)
    assert trace.end_reason == "marker"
    assert list(output.token_ids[: end + 1]) == free[: end + 1]
    assert trace.soft.nonzero()[:, 0].tolist() == list(range(end))
    assert trace.drawn.nonzero()[:, 0].tolist() == list(range(end + 1))
    assert not trace.forced.any()
    # Its first token alone, which the text may hold many times, ends nothing.
    assert free.index(marker[0]) <= end - 1


def test_the_token_that_ends_thinking_is_fed_as_a_token_and_scored_as_one(llm, model):
    prompt = _prompt(1)
    free = list(_generate(llm, prompt, _settings(phase={"budget": 40})).outputs[0].token_ids)
    settings = _settings(phase={"end_of_thinking": free[5:7], "budget": 12})
    output = _generate(llm, prompt, settings, max_tokens=12).outputs[0]
    trace = unpack_rows(output.routed_experts)
    request = resolve(settings, max_tokens=12, width=CANDIDATES, tokenize=None)
    tokens, positions, soft = rollout(model, prompt, request, max_tokens=9)
    assert trace.soft[:9].tolist() == soft
    assert list(output.token_ids[:7]) == tokens[:7]
    assert float(trace.log_prob[6]) == pytest.approx(positions[6].shown_log_prob, abs=1e-3)
    assert float(trace.log_prob[6]) <= 0


def test_cold_stop_counts_consecutive_cold_steps(llm):
    prompt = _prompt(2)
    warm = unpack_rows(_generate(llm, prompt, _settings(record_entropy=True)).outputs[0].routed_experts)
    entropies = warm.entropy[:25]
    threshold = float(entropies.median())
    cold = entropies < threshold
    stop = next(i for i in range(1, 25) if cold[i] and cold[i - 1])
    output = _generate(llm, prompt, _settings(phase={"cold_entropy": threshold, "cold_length": 2})).outputs[0]
    trace = unpack_rows(output.routed_experts)
    assert trace.end_reason == "cold_stop"
    assert list(output.token_ids[stop : stop + 2]) == [3, 4]
    assert trace.forced.nonzero()[:, 0].tolist() == [stop, stop + 1]


def test_ordinary_follow_up_does_not_read_soft_cache_blocks(llm, model):
    """A discrete request over the shown tokens of a soft one must not find its keys and values."""
    shared = 0
    for seed in range(3):
        prompt = _prompt(20 + seed)
        soft = _generate(llm, prompt, _settings(seed=seed, phase={"budget": 60}), max_tokens=70)
        follow_up = prompt + list(soft.outputs[0].token_ids)
        answer = _generate(llm, follow_up, None, max_tokens=6)
        table = model.get_input_embeddings().weight.detach()
        inputs = table[torch.tensor(list(answer.outputs[0].token_ids))]
        logits = teacher_forced_logits(model, follow_up, inputs)
        assert list(answer.outputs[0].token_ids) == logits.argmax(-1).tolist()
        again = _generate(llm, prompt, _settings(seed=seed, phase={"budget": 60}), max_tokens=70)
        shared += again.num_cached_tokens
        assert list(again.outputs[0].token_ids) == list(soft.outputs[0].token_ids)
    assert shared >= 3 * 32, "prompts are no longer shared through the prefix cache"


def test_end_of_sequence_while_thinking_ends_the_response(llm):
    prompt = _prompt(3)
    free = list(_generate(llm, prompt, _settings(phase={"budget": 40})).outputs[0].token_ids)
    output = _generate(llm, prompt, _settings(phase={"budget": 40}), stop_token_ids=[free[4]], ignore_eos=False)
    first = free.index(free[4])
    trace = unpack_rows(output.outputs[0].routed_experts)
    assert len(trace) == first + 1
    assert trace.end_reason == "none"
    assert output.outputs[0].finish_reason == "stop"


def test_answers_use_the_request_s_own_sampling(llm):
    """After thinking vLLM's sampler decides: temperature 0 repeats itself, a high temperature does not."""
    prompt = _prompt(4)
    settings = _settings(phase={"budget": 3})
    greedy = [_generate(llm, prompt, settings).outputs[0].token_ids[5:] for _ in range(2)]
    assert greedy[0] == greedy[1]
    hot = [_generate(llm, prompt, settings, temperature=2.0).outputs[0].token_ids[5:] for _ in range(2)]
    assert hot[0] != hot[1]
    seeded = [_generate(llm, prompt, settings, temperature=2.0, seed=3).outputs[0].token_ids for _ in range(2)]
    assert seeded[0] == seeded[1]


@pytest.mark.parametrize("length", [100, 254, 255])
def test_seeded_requests_in_chunks_end_at_the_models_length(llm, length):
    """Chunks of 48 tokens of prompts that leave little room: vLLM alone dies of them on a CPU."""
    soft = _settings(phase={"budget": 1})
    for settings in (soft, None):
        output = _generate(llm, _prompt(9, length), settings, max_tokens=4, temperature=1.0, seed=5).outputs[0]
        assert len(output.token_ids) == min(4, 256 - length)
        again = _generate(llm, _prompt(9, length), settings, max_tokens=4, temperature=1.0, seed=5).outputs[0]
        assert output.token_ids == again.token_ids


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"law": {"tau": 0}}, "softthink.law.tau=0"),
        ({"law": {"name": "gumble"}}, "softthink.law.name='gumble'"),
        ({"filter": {"max_topk": CANDIDATES + 1}}, "max_candidates"),
        ({"phase": {"budget": 41}}, "softthink.phase.budget=41 exceeds the response length of 40"),
        ({"phase": {"end_of_thinking": [VOCABULARY + 7]}}, "outside the vocabulary"),
        ({"phase": {"end_of_thinking": [5] * 17}}, "17 tokens long"),
        ({"phase": {"end_of_thinking": ""}}, "softthink.phase.end_of_thinking"),
        ({"filtre": {}}, "softthink.filtre={}: unknown key"),
    ],
)
def test_a_bad_request_is_refused_and_harms_nobody_else(llm, changes, message):
    with pytest.raises(VLLMValidationError, match=message.replace("[", r"\[")):
        _generate(llm, _prompt(5), _settings(**changes))
    assert len(_generate(llm, _prompt(5), _settings()).outputs[0].token_ids) == 40


def test_sampling_settings_that_cannot_hold_are_refused(llm):
    with pytest.raises(VLLMValidationError, match="n=2.*\nmin_tokens=3 in a soft request"):
        _generate(llm, _prompt(6), _settings(), n=2, temperature=1.0, min_tokens=3)


def _repeats(tokens, count):
    """Whether the last tokens are those before them once more."""
    return len(tokens) >= 2 * count and tokens[-count:] == tokens[-2 * count : -count]


def test_what_compares_shown_tokens_ends_a_thought(llm):
    """Stop texts, stop tokens, repetitions, and the length."""
    # One candidate a step: such a thought goes round in circles before long.
    prompt, settings = _prompt(8), _settings(phase={"budget": 100}, filter={"top_k": 1, "max_topk": 1})
    free = list(_generate(llm, prompt, settings, max_tokens=100).outputs[0].token_ids)
    longest = 49
    repeated = next(at for at in range(100) if any(_repeats(free[: at + 1], n) for n in range(1, longest + 1)))
    for sampling, end, why in (
        ({"stop": [f"w{free[5]} "]}, free.index(free[5]) + 1, "stop"),
        ({"stop_token_ids": [free[7]]}, free.index(free[7]), "stop"),
        (
            {"repetition_detection": RepetitionDetectionParams(max_pattern_size=longest, min_count=2)},
            repeated,
            "repetition",
        ),
        ({"max_tokens": 100}, 99, "length"),
    ):
        output = _generate(llm, prompt, settings, **{"max_tokens": 100} | sampling).outputs[0]
        assert (output.finish_reason, list(output.token_ids)) == (why, free[: end + 1])
        assert unpack_rows(output.routed_experts).soft.all() and len(output.routed_experts) == end + 1


def test_text_markers_are_tokenised_by_the_engine(llm):
    output = _generate(llm, _prompt(7), _settings(phase={"end_of_thinking": "</ think>", "budget": 4})).outputs[0]
    assert list(output.token_ids[4:6]) == [3, 4]
    assert EOS not in output.token_ids[:4]
