"""The coarsened divergence against one outcome at a time in float64, and against what it bounds."""

import torch

from verl_softthink.methods.thought_anchor.divergence import divergence, divergence_at, most_likely, most_likely_at

VOCABULARY = 11


def logits(seed: int, positions: int = 6, vocabulary: int = VOCABULARY) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(positions, vocabulary, generator=generator, dtype=torch.float64)


def by_hand(policy: torch.Tensor, reference: torch.Tensor, tokens: int) -> torch.Tensor:
    """The equation, one position and outcome at a time."""
    total = []
    for p, q in zip(policy.softmax(-1), reference.softmax(-1), strict=True):
        named = q.argsort(descending=True)[:tokens].tolist()
        rest = [token for token in range(len(q)) if token not in named]
        pairs = [(p[token], q[token]) for token in named]
        pairs += [(sum(p[token] for token in rest), sum(q[token] for token in rest))] if rest else []
        total.append(sum(a * (a / b).log() for a, b in pairs))
    return torch.stack(total)


def test_value_and_gradient_are_those_of_the_equation():
    for tokens in (1, 3, VOCABULARY - 1, VOCABULARY, 2 * VOCABULARY):
        policy, reference = logits(0).requires_grad_(), logits(1)
        ids, log_probs = most_likely(reference, tokens)
        found, expected = divergence(policy, ids, log_probs), by_hand(policy, reference, tokens)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        weights = torch.linspace(1, 2, len(found), dtype=torch.float64)
        gradients = [torch.autograd.grad(value @ weights, policy)[0] for value in (found, expected)]
        torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)


def test_more_tokens_only_raise_it_up_to_the_divergence_of_the_whole_vocabulary():
    policy, reference = logits(2, 200), logits(3, 200)
    bounds = [divergence(policy, *most_likely(reference, tokens)) for tokens in range(1, VOCABULARY + 1)]
    assert all((after >= before - 1e-12).all() for before, after in zip(bounds, bounds[1:], strict=False))
    whole = torch.nn.functional.kl_div(
        reference.log_softmax(-1), policy.log_softmax(-1), reduction="none", log_target=True
    )
    torch.testing.assert_close(bounds[-1], whole.sum(-1))
    torch.testing.assert_close(bounds[-2], whole.sum(-1))
    assert (bounds[0] > 0).all()


def test_at_the_reference_it_and_its_gradient_are_zero():
    reference = logits(4)
    policy = reference.clone().requires_grad_()
    value = divergence(policy, *most_likely(reference, 3))
    assert (value == 0).all()
    assert torch.autograd.grad(value.sum(), policy)[0].abs().max() < 1e-15


def test_masked_tokens_and_certain_distributions_stay_finite():
    reference = logits(5).float()
    reference[:, 7:] = -1e9
    policy = (40 * reference).requires_grad_()
    for tokens in (3, 7, VOCABULARY):
        value = divergence(policy, *most_likely(reference, tokens))
        (gradient,) = torch.autograd.grad(value.sum(), policy)
        assert value.isfinite().all() and gradient.isfinite().all() and (gradient[:, 7:] == 0).all()


def test_positions_are_taken_in_pieces_from_raw_logits():
    raw, reference = logits(6, 600).requires_grad_(), logits(7, 600)
    rows = torch.randperm(600, generator=torch.Generator().manual_seed(0))[:580]
    ids, log_probs = most_likely_at(reference.view(20, 30, -1), rows, 0.7, 4)
    torch.testing.assert_close(ids, most_likely(reference[rows] / 0.7, 4)[0])
    found = divergence_at(raw.view(20, 30, -1), rows, 0.7, ids, log_probs)
    expected = divergence(raw[rows] / 0.7, *most_likely(reference[rows] / 0.7, 4))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found.sum(), raw), torch.autograd.grad(expected.sum(), raw))
