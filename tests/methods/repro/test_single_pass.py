"""One pass over the responses and one over the answers, against one float64 pass for every prefix."""

import pytest
import torch
from likelihood.runs import build
from likelihood.samples import jagged, make_batch, random_samples, settings
from transformers import AutoModelForCausalLM
from verl.utils import tensordict_utils as tu

from verl_softthink.methods.repro import answer_attention
from verl_softthink.methods.repro.cuts import MAY_CUT, MUST_CUT, cut_kinds
from verl_softthink.methods.repro.fields import ANSWER, CUTS, KINDS, NO_ANSWER, REQUEST, SECONDS, SURROGATE

from . import naive

TEMPERATURE = 0.8  # of make_batch
ANSWERS = [[3, 5, 7], [NO_ANSWER], [9], [9, 8, 7, 6]]
LEAD_IN = [4, 11]


def scored(engine, batch, lead_in=(), segments=5):
    """Model outputs of an old-log-prob pass that scores answers."""
    tu.assign_non_tensor(batch, **{REQUEST: {"segments": segments, "lead_in": list(lead_in)}})
    with engine.eval_mode():
        return engine.infer_batch(batch)["model_output"]


def prepared(samples, values=None, *, packed, answers=ANSWERS, micro_batch=4, **options):
    """A batch whose responses may be cut before every token."""
    batch = make_batch(samples, values, packed=packed, micro_batch=micro_batch, calculate_entropy=True, **options)
    every = [torch.arange(1, len(sample.response)) for sample in samples]
    lengths = [len(sample.response) for sample in samples]
    batch[KINDS] = jagged([cut_kinds(starts, length, length) for starts, length in zip(every, lengths, strict=True)])
    batch[ANSWER] = jagged([torch.tensor(answer) for answer in answers])
    return batch


def check(path, samples, output, values=None, *, lead_in=(), answers=ANSWERS):
    """All likelihoods against the naive passes."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64, attn_implementation="eager")
    rows = zip(samples, answers, output[CUTS].unbind(), output[SURROGATE].unbind(), strict=True)
    for sample, answer, cuts, surrogate in rows:
        if answer == [NO_ANSWER]:
            assert cuts.tolist() == [0] and surrogate.tolist() == [0.0]
            continue
        assert cuts[0] == 0 and cuts[-1] == len(sample.response) and (cuts.diff() > 0).all()
        for cut, ours in zip(cuts.tolist(), surrogate.tolist(), strict=True):
            theirs = naive.surrogate(model, sample, cut, list(lead_in), answer, TEMPERATURE, values)
            assert ours == pytest.approx(theirs, rel=0, abs=1e-5)


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "granite"])
def test_exact_for_every_architecture(model_path, architecture, packed):
    path = model_path(architecture)
    samples = random_samples("gumbel", settings("gumbel"))
    engine = build(path, packed=packed)
    for lead_in in ((), LEAD_IN):
        output = scored(engine, prepared(samples, packed=packed), lead_in)
        assert [len(cuts) for cuts in output[CUTS].unbind()] == [7, 1, 7, 7]
        assert all(seconds.item() > 0 for seconds in output[SECONDS].unbind())
        check(path, samples, output, lead_in=lead_in)


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("architecture", ["gemma2", "gemma3_text"])
def test_exact_beyond_a_sliding_window(model_path, architecture, packed):
    """Windows of 16 tokens in every other layer and in every layer; the response is five windows long."""
    path = model_path(architecture)
    (sample, *_) = random_samples("gumbel", settings("gumbel"))
    sample.response, sample.kinds = torch.randint(61, (80,)).tolist(), [2] * 80
    sample.ids, sample.values = sample.ids[:1].expand(80, -1), sample.values[:1].expand(80, -1)
    answers = [torch.arange(20).tolist()]
    output = scored(
        build(path, packed=packed), prepared([sample], packed=packed, answers=answers, micro_batch=1), LEAD_IN
    )
    check(path, [sample], output, lead_in=LEAD_IN, answers=answers)


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("lead_in", [(), LEAD_IN], ids=["pasted", "lead-in"])
def test_prefixes_of_soft_positions_hold_the_mixtures(model_path, shared_engine, lead_in, packed):
    values = settings("gumbel")
    samples = random_samples("gumbel", values)
    output = scored(shared_engine(packed), prepared(samples, values, packed=packed), lead_in)
    check(model_path("llama"), samples, output, values, lead_in=lead_in)


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
def test_the_pass_it_rides_in_is_unchanged(shared_engine, packed):
    values = settings("gumbel")
    samples = random_samples("gumbel", values)
    with shared_engine(packed).eval_mode():
        plain = make_batch(samples, values, packed=packed, micro_batch=4, calculate_entropy=True)
        expected = shared_engine(packed).infer_batch(plain)["model_output"]
    output = scored(shared_engine(packed), prepared(samples, values, packed=packed))
    assert set(output) - set(expected) == {CUTS, SURROGATE, SECONDS}
    for name in expected:
        assert torch.equal(output[name].values(), expected[name].values()), name


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize(
    "options",
    [{"micro_batch": 1}, {"micro_batch": 2}, {"use_dynamic_bsz": True, "max_token_len_per_gpu": 30}],
    ids=["one by one", "pairs", "dynamic"],
)
def test_micro_batches_do_not_matter(shared_engine, packed, options):
    samples = random_samples("gumbel", settings("gumbel"))
    whole = scored(shared_engine(packed), prepared(samples, packed=packed), LEAD_IN)
    parts = scored(shared_engine(packed), prepared(samples, packed=packed, **options), LEAD_IN)
    assert torch.equal(whole[CUTS].values(), parts[CUTS].values())
    torch.testing.assert_close(whole[SURROGATE].values(), parts[SURROGATE].values(), rtol=0, atol=1e-5)


def test_memory_bounds_do_not_change_the_result(shared_engine, monkeypatch):
    """One sequence per mask, and more answer tokens than one forward pass may hold."""
    samples = random_samples("gumbel", settings("gumbel"))
    batch = prepared(samples, packed=False)
    expected = scored(shared_engine(False), batch, LEAD_IN)[SURROGATE].values()
    passes = []
    hook = shared_engine(False).module.register_forward_hook(lambda *_: passes.append(1))
    monkeypatch.setattr(answer_attention, "MASK_ELEMENTS", 1)
    # The micro-batch has 64 positions, the short answers 77 tokens and the long ones more.
    long = [[3, 5, 7] * 4, [NO_ANSWER], [9] * 12, [9, 8, 7, 6] * 3]
    ours = scored(shared_engine(False), prepared(samples, packed=False), LEAD_IN)[SURROGATE].values()
    few = len(passes)
    longer = scored(shared_engine(False), prepared(samples, packed=False, answers=long), LEAD_IN, segments=12)
    hook.remove()
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)
    assert len(passes) - few > few
    monkeypatch.undo()
    alone = scored(
        shared_engine(False), prepared(samples, packed=False, answers=long, micro_batch=1), LEAD_IN, segments=12
    )
    torch.testing.assert_close(longer[SURROGATE].values(), alone[SURROGATE].values(), rtol=0, atol=1e-5)


def test_the_cuts_are_those_of_highest_entropy(model_path, shared_engine):
    samples = random_samples("gumbel", settings("gumbel"))
    output = scored(shared_engine(False), prepared(samples, packed=False), segments=3)
    model = AutoModelForCausalLM.from_pretrained(model_path("llama"), dtype=torch.float64)
    for sample, answer, cuts in zip(samples, ANSWERS, output[CUTS].unbind(), strict=True):
        if answer == [NO_ANSWER]:
            continue
        length = len(sample.response)
        entropy = {cut: naive.next_entropy(model, sample, cut, TEMPERATURE) for cut in range(1, length)}
        best = sorted(entropy, key=entropy.get)[-3:]
        assert cuts.tolist() == sorted({0, *best, length})


def test_one_answer_token_costs_no_second_pass(shared_engine):
    samples = random_samples("gumbel", settings("gumbel"))
    passes = []
    hook = shared_engine(False).module.register_forward_hook(lambda *_: passes.append(1))
    scored(shared_engine(False), prepared(samples, packed=False, answers=[[3], [4], [9], [5]]))
    hook.remove()
    assert len(passes) == 1


def test_a_batch_without_any_answer(shared_engine):
    samples = random_samples("gumbel", settings("gumbel"))
    output = scored(shared_engine(False), prepared(samples, packed=False, answers=[[NO_ANSWER]] * 4))
    assert output[CUTS].values().tolist() == [0] * 4 and output[SURROGATE].values().tolist() == [0.0] * 4


def test_bfloat16_stays_near_float32(model_path):
    samples = random_samples("gumbel", settings("gumbel"))
    exact = scored(build(model_path("llama")), prepared(samples, packed=False), LEAD_IN, segments=20)
    rough = scored(
        build(model_path("llama"), mixed_precision=None), prepared(samples, packed=False), LEAD_IN, segments=20
    )
    assert torch.equal(exact[CUTS].values(), rough[CUTS].values())
    assert rough[SURROGATE].dtype == torch.float32
    torch.testing.assert_close(exact[SURROGATE].values(), rough[SURROGATE].values(), rtol=0.02, atol=0.1)


def test_fsdp1(model_path):
    samples = random_samples("gumbel", settings("gumbel"))
    output = scored(build(model_path("qwen2"), strategy="fsdp"), prepared(samples, packed=False), LEAD_IN)
    check(model_path("qwen2"), samples, output, lead_in=LEAD_IN)


def test_what_cannot_work_is_refused_by_name(model_path, shared_engine):
    samples = random_samples("gumbel", settings("gumbel"))
    batch = prepared(samples, packed=False)
    with pytest.raises(ValueError, match="this is a training pass"):
        tu.assign_non_tensor(batch, **{REQUEST: {"segments": 3, "lead_in": []}})
        with shared_engine(False).train_mode():
            shared_engine(False).forward_backward_batch(batch, lambda **_: None)
    with pytest.raises(ValueError, match=f"the batch lacks {KINDS}, {ANSWER}"):
        scored(shared_engine(False), make_batch(samples, None, packed=False))
    short = prepared(samples, packed=False)
    short[KINDS] = jagged([torch.tensor([MUST_CUT, MAY_CUT])] * 4)
    with pytest.raises(ValueError, match="has 2 entries for row 0, whose response has 12 tokens"):
        scored(shared_engine(False), short)
    eager = build(model_path("llama"), override_config={"attn_implementation": "eager"})
    with pytest.raises(ValueError, match="attn_implementation='eager'"):
        scored(eager, prepared(samples, packed=False))
