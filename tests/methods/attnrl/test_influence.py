"""Forward context influence against whole attention matrices, and a forward pass that it does not change."""

import numpy as np
import pytest
import torch
from oracles.context_influence import influence as oracle
from oracles.context_influence import zeroed

from verl_softthink.methods.attnrl import reduction
from verl_softthink.methods.attnrl.influence import ForwardContextInfluence, without_answer
from verl_softthink.methods.attnrl.steps import SteppedSequence

from .models import ARCHITECTURES, VOCABULARY, make_model

LENGTHS = (5, 3, 1, 4, 2, 7, 1, 6, 3, 2, 5)
OTHER = (2, 6, 3, 3, 1, 1, 8, 2, 4)


def tokens(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(VOCABULARY, (1, count), generator=torch.Generator().manual_seed(seed))


def measured(model, sequences, options=None, **inputs):
    with torch.no_grad(), ForwardContextInfluence(model, sequences, **(options or {})) as influence:
        output = model(use_cache=False, **inputs)
    return influence.values, output.logits


def expected(architecture, ids, lengths, **overrides) -> np.ndarray:
    """y_k from ``output_attentions=True`` of the eager twin, for one sequence alone; zeros as in ``values``."""
    with torch.no_grad():
        attentions = make_model(architecture, "eager", **overrides)(ids, output_attentions=True).attentions
    return zeroed(oracle(torch.stack(attentions)[:, 0].double().numpy(), list(lengths)), None)


def assert_equal(values: torch.Tensor, wanted: np.ndarray) -> None:
    assert wanted.max() > 1e-2
    np.testing.assert_allclose(values.numpy(), wanted, rtol=1e-4, atol=1e-6)


@pytest.fixture(params=["whole", "tiled"])
def tiles(request, monkeypatch):
    """Tiles of three rows cut steps and the diagonal in every way."""
    if request.param == "tiled":
        monkeypatch.setattr(reduction, "MIN_ROWS", 3)
        monkeypatch.setattr(reduction, "TILE_CPU", 1)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_equals_output_attentions(architecture, implementation, tiles):
    overrides = {"attn_logit_softcapping": None} if (architecture, implementation) == ("gemma2", "sdpa") else {}
    ids = tokens(sum(LENGTHS))
    (values,), _ = measured(
        make_model(architecture, implementation, **overrides), [SteppedSequence(0, 0, LENGTHS)], input_ids=ids
    )
    assert_equal(values, expected(architecture, ids, LENGTHS, **overrides))


def test_flex_attention_is_observed(tiles):
    ids = tokens(sum(LENGTHS))
    (values,), _ = measured(make_model("llama", "flex_attention"), [SteppedSequence(0, 0, LENGTHS)], input_ids=ids)
    assert_equal(values, expected("llama", ids, LENGTHS))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("side", ["left", "right"])
def test_padded_batches(architecture, side, tiles):
    overrides = {"attn_logit_softcapping": None} if architecture == "gemma2" else {}
    first, second = tokens(sum(LENGTHS), 1), tokens(sum(OTHER), 2)
    gap = sum(LENGTHS) - sum(OTHER)
    pad = (gap, 0) if side == "left" else (0, gap)
    ids = torch.cat([first, torch.nn.functional.pad(second, pad)])
    mask = torch.cat([torch.ones_like(first), torch.nn.functional.pad(torch.ones_like(second), pad)])
    sequences = [SteppedSequence(0, 0, LENGTHS), SteppedSequence(1, gap if side == "left" else 0, OTHER)]
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    values, _ = measured(
        make_model(architecture, **overrides), sequences, input_ids=ids, attention_mask=mask, position_ids=positions
    )
    assert_equal(values[0], expected(architecture, first, LENGTHS, **overrides))
    assert_equal(values[1], expected(architecture, second, OTHER, **overrides))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_packed_batches(architecture, tiles):
    overrides = {"attn_logit_softcapping": None} if architecture == "gemma2" else {}
    first, second = tokens(sum(LENGTHS), 1), tokens(sum(OTHER), 2)
    positions = torch.cat([torch.arange(first.shape[1]), torch.arange(second.shape[1])])[None]
    values, _ = measured(
        make_model(architecture, **overrides),
        [SteppedSequence(0, 0, LENGTHS), SteppedSequence(0, sum(LENGTHS), OTHER)],
        input_ids=torch.cat([first, second], 1),
        position_ids=positions,
    )
    assert_equal(values[0], expected(architecture, first, LENGTHS, **overrides))
    assert_equal(values[1], expected(architecture, second, OTHER, **overrides))


@pytest.mark.parametrize("implementation", ["sdpa", "eager", "flex_attention"])
def test_the_forward_pass_is_the_same_to_the_last_bit(implementation):
    model, ids = make_model("qwen3", implementation), tokens(sum(LENGTHS))
    with torch.no_grad():
        plain = model(ids, use_cache=False).logits
    _, observed = measured(model, [SteppedSequence(0, 0, LENGTHS)], input_ids=ids)
    assert torch.equal(plain, observed)
    with torch.no_grad():
        assert torch.equal(plain, model(ids, use_cache=False).logits)


def test_a_second_pass_within_the_block_is_not_observed():
    model, ids = make_model("llama"), tokens(sum(LENGTHS))
    sequences = [SteppedSequence(0, 0, LENGTHS)]
    with torch.no_grad(), ForwardContextInfluence(model, sequences) as influence:
        model(ids)
        first = influence.values[0].clone()
        model(ids[:, :9])
    assert torch.equal(influence.values[0], first)
    assert torch.equal(first, measured(model, sequences, input_ids=ids)[0][0])


def test_layers_and_heads_can_be_chosen():
    model, ids = make_model("llama"), tokens(sum(LENGTHS))
    with torch.no_grad():
        attentions = torch.stack(make_model("llama", "eager")(ids, output_attentions=True).attentions)[:, 0]
    sequence = [SteppedSequence(0, 0, LENGTHS)]
    for layers, heads in (([1], None), (None, [3]), ([0, 2], [0, 3])):
        (values,), _ = measured(model, sequence, {"layers": layers, "heads": heads}, input_ids=ids)
        chosen = attentions[layers if layers else slice(None)][:, heads if heads else slice(None)]
        assert_equal(values, zeroed(oracle(chosen.double().numpy(), list(LENGTHS)), None))


def test_bfloat16_is_measured_in_single_precision():
    model, ids = make_model("llama").bfloat16(), tokens(sum(LENGTHS))
    (values,), _ = measured(model, [SteppedSequence(0, 0, LENGTHS)], input_ids=ids)
    wanted = expected("llama", ids, LENGTHS)
    assert values.dtype == torch.float32
    # Queries and keys carry 8 bits; three layers amplify that.
    np.testing.assert_allclose(values.numpy(), wanted, atol=0.15)


def test_every_token_may_be_a_step(tiles):
    lengths = (5,) + (1,) * 30
    ids = tokens(35)
    (values,), _ = measured(make_model("llama"), [SteppedSequence(0, 0, lengths)], input_ids=ids)
    assert_equal(values, expected("llama", ids, lengths))


@pytest.mark.parametrize("ranges", range(1, 8))
def test_few_steps_have_little_or_no_influence(ranges):
    lengths = (4,) + (3,) * (ranges - 1)
    ids = tokens(sum(lengths))
    (values,), _ = measured(make_model("llama"), [SteppedSequence(0, 0, lengths)], input_ids=ids)
    wanted = expected("llama", ids, lengths)
    np.testing.assert_allclose(values.numpy(), wanted, rtol=1e-4, atol=1e-6)
    assert (wanted > 0).sum() == max(0, ranges - 6)


def test_nothing_is_scored_from_the_end_of_thinking_on():
    ids = tokens(sum(LENGTHS))
    (values,), _ = measured(make_model("llama"), [SteppedSequence(0, 0, LENGTHS)], input_ids=ids)
    wanted = zeroed(values.numpy(), 5)
    assert wanted[2:5].all() and not wanted[5:].any()
    np.testing.assert_array_equal(without_answer(values, 5).numpy(), wanted)
    np.testing.assert_array_equal(without_answer(torch.ones(7), None).numpy(), [0, 0, 1, 1, 1, 1, 1])
