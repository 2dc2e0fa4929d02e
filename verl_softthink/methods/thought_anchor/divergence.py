"""KL divergence of two next-token distributions, over M tokens and all others taken as one.

    D = sum_m p_m log(p_m / q_m) + p_rest log(p_rest / q_rest)

The M tokens are those most likely under q, the reference. Taking outcomes together never raises a divergence, so D is a
lower bound of KL(p || q), zero where p equals q; with M + 1 tokens in the vocabulary, or fewer, it is KL(p || q).
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.utils.checkpoint import checkpoint

#: Positions of which the whole vocabulary's logits are held in float32 at a time.
POSITIONS_AT_ONCE = 256


def most_likely(
    logits: Float[Tensor, "positions vocabulary"], tokens: int
) -> tuple[Int64[Tensor, "positions tokens"], Float[Tensor, "positions outcomes"]]:
    """The M most likely tokens of each position, M at most V, and their log-probabilities, as ``outcomes`` gives them.

    Args:
        logits: [N, V] finite, divided by the temperature.
        tokens: M.
    """
    ids = logits.topk(min(tokens, logits.shape[-1])).indices
    return ids, outcomes(logits, ids)


def outcomes(
    logits: Float[Tensor, "positions vocabulary"], ids: Int64[Tensor, "positions tokens"]
) -> Float[Tensor, "positions outcomes"]:
    """[N, M + 1] log-probabilities of M different tokens, and of all others together; [N, V] where there are none."""
    log_probs = logits.log_softmax(-1)
    named = log_probs.gather(-1, ids)
    if ids.shape[-1] == logits.shape[-1]:
        return named
    others = log_probs.scatter(-1, ids, -torch.inf).logsumexp(-1, keepdim=True)
    return torch.cat((named, others), -1)


def divergence(
    logits: Float[Tensor, "positions vocabulary"],
    ids: Int64[Tensor, "positions tokens"],
    reference: Float[Tensor, "positions outcomes"],
) -> Float[Tensor, " positions"]:
    """[N] D in nats, differentiable in the logits.

    Args:
        logits: [N, V] finite, of p, divided by the temperature.
        ids: [N, M] of ``most_likely``.
        reference: log q of ``most_likely``.
    """
    log_probs = outcomes(logits, ids)
    return (log_probs.exp() * (log_probs - reference)).sum(-1)


def divergence_at(
    logits: Float[Tensor, "*batch vocabulary"],
    rows: Int64[Tensor, " positions"],
    temperature: float,
    ids: Int64[Tensor, "positions tokens"],
    reference: Float[Tensor, "positions outcomes"],
) -> Float[Tensor, " positions"]:
    """``divergence`` at the flattened positions ``rows`` of raw logits [..., V] of any dtype, in at least float32."""

    def piece(logits: Tensor, ids: Tensor, reference: Tensor) -> Tensor:
        return divergence(wide(logits) / temperature, ids, reference)

    # The vocabulary's probabilities are computed again in the backward pass rather than kept for every position.
    pieces = zip(
        logits.reshape(-1, logits.shape[-1])[rows].split(POSITIONS_AT_ONCE),
        ids.split(POSITIONS_AT_ONCE),
        reference.split(POSITIONS_AT_ONCE),
        strict=True,
    )
    return torch.cat([checkpoint(piece, *each, use_reentrant=False) for each in pieces])


def most_likely_at(
    logits: Float[Tensor, "*batch vocabulary"], rows: Int64[Tensor, " positions"], temperature: float, tokens: int
) -> tuple[Int64[Tensor, "positions tokens"], Float[Tensor, "positions outcomes"]]:
    """``most_likely`` at the flattened positions ``rows`` of raw logits [..., V] of any dtype."""
    flat = logits.reshape(-1, logits.shape[-1])
    found = [most_likely(wide(flat[each]) / temperature, tokens) for each in rows.split(POSITIONS_AT_ONCE)]
    ids, log_probs = zip(*found, strict=True)
    return torch.cat(ids), torch.cat(log_probs)


def wide(logits: Tensor) -> Tensor:
    """The logits in at least float32."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
