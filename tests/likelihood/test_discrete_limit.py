"""The foundation: discrete tokens sent through the soft path are plain GRPO."""

import pytest
import torch

from .runs import STOCK, actor_config, build, infer, policy_loss, train
from .samples import SOFT_POSITION, jagged, make_batch, random_sample, settings

# FSDP 2 loses its backward hook when a module returns a view that is then changed in place.
pytestmark = pytest.mark.filterwarnings("error:.*returned a view tensor")

VALUES = settings("discrete")


def all_soft_samples():
    """Responses of discrete "mixtures" only: one candidate, weight 1, fed through the embedding hooks."""
    generator = torch.Generator().manual_seed(3)
    return [
        random_sample(generator, prompt, [SOFT_POSITION] * length, "discrete", values=VALUES)
        for prompt, length in ((4, 9), (6, 5), (2, 12), (3, 1))
    ]


@pytest.mark.parametrize("strategy", ["fsdp", "fsdp2"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_discrete_traces_give_the_stock_engines_losses_and_gradients(model_path, strategy, packed, tied):
    path = model_path("qwen3", tied=tied)
    samples = all_soft_samples()
    plain = make_batch(samples, None, packed=packed)
    traced = make_batch(samples, VALUES, packed=packed)

    stock = build(path, model_type=STOCK, strategy=strategy, packed=packed)
    expected = infer(stock, plain)
    soft = build(path, strategy=strategy, packed=packed)
    for ours, theirs in zip(infer(soft, traced), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)

    # A stale old policy and another reference, so that the ratio, the clipping and the KL loss all act.
    generator = torch.Generator().manual_seed(5)
    old = jagged([row + 0.3 * torch.randn(len(row), generator=generator) for row in expected])
    reference = jagged([row + 0.3 * torch.randn(len(row), generator=generator) for row in expected])
    for batch in (plain, traced):
        batch["old_log_probs"], batch["ref_log_prob"] = old, reference
    config = actor_config(strategy, kl_loss_coef=0.1)
    loss, gradients = train(soft, traced, policy_loss(config))
    stock_loss, stock_gradients = train(stock, plain, policy_loss(config))
    assert loss == pytest.approx(stock_loss, abs=1e-5)
    assert gradients.keys() == stock_gradients.keys()
    assert max(g.abs().max() for g in stock_gradients.values()) > 1e-2
    for name, gradient in gradients.items():
        torch.testing.assert_close(
            gradient, stock_gradients[name], rtol=0, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_a_batch_without_traces_is_the_stock_engines(model_path):
    path = model_path("qwen3")
    batch = make_batch(all_soft_samples(), None, packed=False)
    for ours, theirs in zip(infer(build(path), batch), infer(build(path, model_type=STOCK), batch), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
