"""Ends of thinking and what follows them in a real vLLM engine, and logits and weights that change under way."""

import random

import pytest
import torch
from support.engine import CANDIDATES
from support.tiny_models import EOS, VOCABULARY, make_tiny_model
from vllm import SamplingParams
from vllm.exceptions import VLLMValidationError

from verl_softthink.trace import failure_at, unpack_rows

pytestmark = pytest.mark.vllm


@pytest.fixture(scope="module")
def llm(engine_factory, tmp_path_factory):
    path = make_tiny_model(tmp_path_factory.mktemp("model") / "qwen3", "qwen3", tied=False)
    config = {"softthink": {"max_candidates": CANDIDATES, "carries_embeddings": True}}
    return engine_factory(path, block_size=16, additional_config=config)


def _generate(llm, phase, *, law=None, max_tokens=40, prompt=1, **sampling):
    rng = random.Random(prompt)
    settings = {
        "law": law or {"name": "gumbel", "tau": 0.5},
        "phase": {"end_of_thinking": [3, 4]} | phase,
        "seed": 11,
        "record_entropy": True,
    }
    arguments = {"temperature": 0, "logprobs": 0, "ignore_eos": True} | sampling
    params = SamplingParams(max_tokens=max_tokens, extra_args={"softthink": settings}, **arguments)
    prompts = [{"prompt_token_ids": [rng.randrange(5, VOCABULARY) for _ in range(40)]}]
    output = llm.generate(prompts, params, use_tqdm=False)[0].outputs[0]
    return list(output.token_ids), unpack_rows(output.routed_experts), output


def _unseen_pair(tokens):
    """A position from 6 on whose token and the one before it stand for the first time."""
    pairs = list(zip(tokens, tokens[1:], strict=False))
    return next(i + 1 for i in range(5, 30) if pairs[i] not in pairs[:i])


def test_a_text_ends_thinking_across_token_boundaries(llm):
    free, _, _ = _generate(llm, {})
    end = _unseen_pair(free)
    # The end of one word and the beginning of the next: no token sequence is this text.
    words = llm.get_tokenizer().decode(free[end - 1 : end + 1])
    tokens, trace, _ = _generate(llm, {"end_of_thinking": words, "match": "text", "answer_prefix": [20, 21]})
    assert trace.end_reason == "marker"
    assert tokens[: end + 1] == free[: end + 1]
    assert trace.soft.nonzero()[:, 0].tolist() == list(range(end))
    assert tokens[end + 1 : end + 3] == [20, 21]
    assert trace.forced.nonzero()[:, 0].tolist() == [end + 1, end + 2]
    assert not trace.drawn[end + 1 :].any()


@pytest.mark.parametrize("match", ["tokens", "text"])
def test_a_marker_that_has_begun_at_the_budget_is_completed(llm, match):
    free, _, _ = _generate(llm, {})
    assert 7 not in free
    for ids, forced in (([free[5], 7], [7, 20]), ([7, free[5]], [7, free[5], 20])):
        marker = llm.get_tokenizer().decode(ids) if match == "text" else ids
        tokens, trace, _ = _generate(llm, {"end_of_thinking": marker, "budget": 6, "answer_prefix": [20]})
        assert tokens[: 6 + len(forced)] == free[:6] + forced
        assert trace.end_reason == "budget"
        assert trace.forced.nonzero()[:, 0].tolist() == [*range(6, 6 + len(forced))]


def test_a_cut_thought_gets_the_lead_in_and_the_answer_its_budget(llm):
    phase = {"budget": 6, "answer_prefix": [20], "lead_in": "w30 w31 w32", "answer_budget": 4}
    tokens, trace, output = _generate(llm, phase, ignore_eos=False)
    assert tokens[6:9] == [30, 31, 32]
    assert trace.end_reason == "budget"
    assert output.finish_reason == "stop" and tokens[-1] == EOS
    if trace.cut:  # the model may write its own end first
        assert len(tokens) == 6 + 3 + 4 + 1
        assert trace.forced.nonzero()[:, 0].tolist() == [6, 7, 8, 13]


def test_a_stop_token_of_the_request_ends_an_answer_too(llm):
    tokens, trace, output = _generate(llm, {"budget": 3, "answer_budget": 2}, stop_token_ids=[299])
    assert trace.cut and tokens[-1] == 299 and len(tokens) == 3 + 2 + 2 + 1
    assert output.finish_reason == "stop"


def test_a_budget_of_nothing_answers_at_once_behind_the_lead_in(llm):
    tokens, trace, _ = _generate(llm, {"budget": 0, "lead_in": "w30 w31"})
    assert tokens[:2] == [30, 31] and trace.end_reason == "budget" and trace.end_of_thinking == 0
    assert not trace.drawn.any() and trace.forced.nonzero()[:, 0].tolist() == [0, 1]


def test_without_lead_in_the_prefix_follows_the_marker(llm):
    tokens, _, _ = _generate(llm, {"budget": 5, "answer_prefix": [20, 21]})
    assert tokens[5:9] == [3, 4, 20, 21]


def test_a_thought_that_never_ends_is_named_as_such(llm):
    _, trace, output = _generate(llm, {}, max_tokens=12)
    assert trace.end_reason == "none" and trace.soft.all() and output.finish_reason == "length"


def test_switching_follows_the_entropies_that_it_records(llm):
    """Replayed by hand from the recorded entropies; discrete tokens are the sampler's, greedy here."""
    tokens, trace, _ = _generate(llm, {"switches": 3, "switch_window": 2, "budget": 38}, max_tokens=38)
    discrete, block, reference, switches = False, 0, 0.0, 0
    seen = 0
    for position in range(len(trace)):
        if trace.forced[position]:
            assert trace.end_reason == "switches" and switches == 3
            break
        entropy = float(trace.entropy[position])
        if block and ((discrete and block >= 2 and entropy > reference) or (not discrete and entropy < reference)):
            assert switches < 3, "a switch too many"
            discrete, block, switches = not discrete, 0, switches + 1
        if block == 0:
            reference = entropy
        block += 1
        assert bool(trace.discrete[position]) == discrete and bool(trace.soft[position]) == (not discrete)
        seen += discrete
    assert seen >= 2 and switches == 3


def test_a_marker_written_by_ordinary_tokens_ends_thinking(llm):
    """Switched to ordinary tokens, thinking still ends where the sampler writes the marker."""
    tokens, trace, _ = _generate(llm, {"switches": 1, "switch_window": 1000, "budget": 38}, max_tokens=38)
    discrete = trace.discrete.nonzero()[:, 0].tolist()
    end = next(i for i in discrete[2:] if tokens[i - 1 : i + 1] not in [tokens[j - 1 : j + 1] for j in range(1, i)])
    phase = {"switches": 1, "switch_window": 1000, "end_of_thinking": tokens[end - 1 : end + 1], "answer_prefix": [20]}
    again, ended, _ = _generate(llm, phase, max_tokens=38)
    assert again[: end + 1] == tokens[: end + 1]
    assert ended.end_reason == "marker" and again[end + 1] == 20
    assert bool(ended.forced[end + 1]) and not ended.discrete[end + 1 :].any()


@pytest.mark.parametrize(
    ("phase", "sampling", "message"),
    [
        ({"end_of_thinking": "no such words", "match": "text"}, {}, "cannot produce"),
        ({"end_of_thinking": [3], "match": "text"}, {}, "phase.end_of_thinking="),
        ({"lead_in": "The final answer is:"}, {}, "unknown token"),
        ({"answer_prefix": [5] * 33}, {}, "answer_prefix is 33 tokens long"),
        ({"lead_in": ""}, {}, "softthink.phase.lead_in"),
        ({"answer_budget": 3}, {}, "do not ignore the end-of-sequence token"),
        ({"budget": 41}, {}, "exceeds the response length"),
    ],
)
def test_phases_that_cannot_work_are_refused(llm, phase, sampling, message):
    with pytest.raises(VLLMValidationError, match=message):
        _generate(llm, phase, **sampling)


def test_logits_that_are_not_numbers_end_the_request_and_say_so(llm):
    def poison(model):
        weight = model.model.norm.weight
        model._kept = float(weight[7].detach())
        weight.data[7] = torch.nan

    def heal(model):
        model.model.norm.weight.data[7] = model._kept

    for name in ("gumbel", "multiplex", "gaussian"):
        llm.apply_model(poison)
        tokens, trace, output = _generate(llm, {}, law={"name": name}, ignore_eos=False)
        llm.apply_model(heal)
        assert trace.end_reason == "bad_logits" and failure_at(output.routed_experts) == (0, "bad_logits")
        assert tokens == [EOS] and output.finish_reason == "error"
        assert output.stop_reason.startswith("softthink: the logits are not numbers")
        assert trace.forced.tolist() == [True] and not trace.drawn.any()
        tokens, trace, output = _generate(llm, {}, law={"name": name})
        assert len(tokens) == 40 and failure_at(output.routed_experts) is None
        assert torch.isfinite(trace.log_prob).all()


def test_new_weights_have_another_noise_scale(llm):
    """A weight sync goes through load_weights: the scale that was kept would be of the old table."""

    def scale_table(model, factor):
        table = model.model.embed_tokens.weight[:VOCABULARY].clone() * factor
        model.load_weights([("model.embed_tokens.weight", table)])

    law = {"name": "gaussian"}
    scales = []
    for factor in (1.0, 4.0, 0.25):
        llm.apply_model(lambda model, factor=factor: scale_table(model, factor))
        _, trace, _ = _generate(llm, {}, law=law, max_tokens=4)
        scales.append(float(trace.scale[0]))
    assert scales[1] == pytest.approx(4 * scales[0], rel=1e-5)
    assert scales[2] == pytest.approx(scales[0], rel=1e-5)
