"""The output head in pieces: the same numbers and gradients, without ever holding the logits of a whole batch."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from verl.utils import tensordict_utils as tu

from verl_softthink.likelihood.head_in_pieces import check_head, check_pieces
from verl_softthink.methods.repro.fields import REQUEST

from .models import VOCABULARY
from .runs import build, infer, responses_of, train, weighted_log_probs
from .samples import make_batch, random_samples, settings

AT_ONCE = 7


@pytest.fixture(scope="module")
def pair(model_path):
    """Batches of one law, with all logits at once and in pieces."""

    def make(law, *, packed, **overrides):
        values = settings(law, **overrides)
        samples = random_samples(law, values)
        batches = [
            make_batch(samples, values | extra, packed=packed, micro_batch=4)
            for extra in ({}, {"positions_at_once": AT_ONCE})
        ]
        return samples, *batches

    return make


@pytest.mark.parametrize("law", ["gumbel", "concrete", "discrete"])
@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
def test_log_probs_loss_and_gradients_are_those_of_all_logits(shared_engine, pair, law, packed):
    engine = shared_engine(packed)
    _, whole, pieces = pair(law, packed=packed)
    for ours, expected in zip(infer(engine, pieces), infer(engine, whole), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    loss, gradients = train(engine, pieces, weighted_log_probs)
    expected_loss, expected = train(engine, whole, weighted_log_probs)
    assert loss == pytest.approx(expected_loss, rel=1e-5, abs=1e-4)
    assert any(gradient.abs().max() > 1e-3 for gradient in expected.values())
    for name, gradient in expected.items():
        size = max(1.0, gradient.abs().max().item())
        torch.testing.assert_close(gradients[name], gradient, rtol=0, atol=1e-5 * size)


@pytest.mark.parametrize(("strategy", "options"), [("fsdp", {}), ("fsdp", {"use_orig_params": False}), ("fsdp2", {})])
def test_sharded_and_tied_heads(model_path, pair, strategy, options):
    engine = build(model_path("qwen2", tied=True), strategy=strategy, packed=True, **options)
    _, whole, pieces = pair("gumbel", packed=True)
    norms = []
    for batch in (pieces, whole):
        with engine.train_mode():
            engine.optimizer_zero_grad()
            engine.forward_backward_batch(batch, weighted_log_probs)
            norms.append(float(torch.stack([p.grad.norm() for p in engine.module.parameters()]).norm()))
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
def test_entropy_is_that_of_all_logits(shared_engine, pair, packed):
    engine = shared_engine(packed)
    _, whole, pieces = pair("gumbel", packed=packed)
    for batch in (whole, pieces):
        tu.assign_non_tensor(batch, calculate_entropy=True)
    with engine.eval_mode():
        expected, ours = (
            responses_of(engine.infer_batch(batch)["model_output"]["entropy"], batch) for batch in (whole, pieces)
        )
    for mine, theirs in zip(ours, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


def test_half_precision_logits_are_scored_in_float32(model_path, pair):
    """verl's default: parameters and logits in bfloat16. Densities are those of all logits to float32 rounding."""
    engine = build(model_path("llama"), packed=True, mixed_precision=None)
    samples, whole, pieces = pair("concrete", packed=True)
    for sample, ours, expected in zip(samples, infer(engine, pieces), infer(engine, whole), strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours[sample.drawn], expected[sample.drawn], rtol=1e-5, atol=1e-4)
        # verl itself takes the log-softmax of tokens in bfloat16.
        torch.testing.assert_close(ours, expected.float(), rtol=0, atol=0.1)
    _, gradients = train(engine, pieces, weighted_log_probs)
    assert all(gradient.isfinite().all() for gradient in gradients.values())


class _Largest(TorchDispatchMode):
    """Positions of the largest tensor that was ever made with the vocabulary as its last dimension."""

    positions = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, torch.Tensor) and tensor.dim() and tensor.shape[-1] == VOCABULARY:
                self.positions = max(self.positions, tensor.numel() // VOCABULARY)
        return result


def test_no_more_logits_than_one_piece_are_ever_made(shared_engine):
    engine = shared_engine(True)
    values = settings("concrete")
    samples = 4 * random_samples("concrete", values)
    seen = []
    for extra in ({}, {"positions_at_once": AT_ONCE}):
        batch = make_batch(samples, values | extra, packed=True, micro_batch=len(samples))
        with _Largest() as largest:
            train(engine, batch, weighted_log_probs)
        seen.append(largest.positions)
    # The head's own weight, transposed, has as many rows as the model is wide.
    width = engine.module.config.hidden_size
    assert seen[0] >= int(batch["input_ids"].offsets()[-1]) > width > AT_ONCE
    assert seen[1] <= width


def test_what_reads_all_logits_is_refused(shared_engine, pair):
    _, _, pieces = pair("gumbel", packed=False)
    tu.assign_non_tensor(pieces, calculate_sum_pi_squared=True)
    with pytest.raises(ValueError, match="positions_at_once is set, but the batch asks for calculate_sum_pi_squared"):
        infer(shared_engine(False), pieces)
    _, _, pieces = pair("gumbel", packed=True)
    check_pieces(shared_engine(True).logit_readers(pieces))
    tu.assign_non_tensor(pieces, **{REQUEST: {}})
    with pytest.raises(ValueError, match="positions_at_once is set, but the batch asks for softthink_repro"):
        check_pieces(shared_engine(True).logit_readers(pieces))


def test_logits_changed_after_the_head_are_refused():
    class Config:
        model_type = "gemma2"
        final_logit_softcapping = 30.0

        def get_text_config(self):
            return self

    with pytest.raises(ValueError, match="final_logit_softcapping=30.0"):
        check_head(torch.nn.Linear(2, 3), Config())
    Config.final_logit_softcapping = None
    check_head(torch.nn.Linear(2, 3), Config())
    with pytest.raises(ValueError, match="Identity"):
        check_head(torch.nn.Identity(), Config())
