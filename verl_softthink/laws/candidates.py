"""Which tokens may enter a mixture: the filter of Soft Thinking (arXiv 2505.15778), in its published order.

From p = softmax(logits / T): top-k, renormalise, top-p, renormalise, min-p (threshold ``min_p * max p``),
renormalise, keep the ``max_topk`` largest, renormalise. The result is *frozen*: training gathers the logits of
the same ids and renormalises them in the same way, so rollout and training share one density.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from verl_softthink.laws.action import NO_CANDIDATE, Candidates


@dataclass(frozen=True)
class FilterParameters:
    """Per-row filter of the candidates; every field is a tensor of shape [N].

    Attributes:
        temperature: float32 > 0, divides the logits; None where they are divided already.
        top_k: int64, 0 keeps the whole vocabulary.
        top_p: float32 in (0, 1], 1 keeps everything.
        min_p: float32 in [0, 1), 0 keeps everything.
        max_topk: int64 >= 1, the most candidates a mixture may have.
    """

    temperature: Tensor | None
    top_k: Tensor
    top_p: Tensor
    min_p: Tensor
    max_topk: Tensor

    @classmethod
    def uniform(
        cls,
        rows: int,
        *,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        max_topk: int = 5,
        device: torch.device | str | None = None,
    ) -> "FilterParameters":
        """The same filter for every one of ``rows`` rows."""

        def column(value: float | int, dtype: torch.dtype) -> Tensor:
            return torch.full((rows,), value, dtype=dtype, device=device)

        return cls(
            temperature=column(temperature, torch.float32),
            top_k=column(top_k, torch.int64),
            top_p=column(top_p, torch.float32),
            min_p=column(min_p, torch.float32),
            max_topk=column(max_topk, torch.int64),
        )


def select_candidates(
    logits: Float[Tensor, "rows vocabulary"],
    parameters: FilterParameters,
    *,
    width: int,
    fetch: int,
    limited: bool = False,
) -> Candidates:
    """Filter each row's vocabulary down to at most ``width`` candidates.

    Args:
        logits: [N, V] raw logits.
        parameters: the filter of each row.
        width: K, the number of slots of the result; at least the largest ``max_topk``.
        fetch: how many of the largest logits to look at; at least ``width`` and the largest ``top_k``, which is not
            checked row by row because that would wait for the device.
        limited: the caller knows that no row has ``top_k`` 0; saves a pass over the vocabulary.

    Returns:
        Candidates with [N, width] slots, log-probabilities renormalised over each row's kept candidates. Tokens of
        probability 0 (logit -inf) are never candidates.

    Raises:
        ValueError: when ``fetch`` is below ``width``.
    """
    if fetch < width:
        raise ValueError(f"fetch={fetch} looks at fewer tokens than width={width} slots; raise fetch to width")
    scaled = logits.float()
    if parameters.temperature is not None:
        scaled = scaled / parameters.temperature[:, None]
    fetch = min(fetch, logits.shape[-1])
    top_logits, top_ids = scaled.topk(fetch, dim=-1)
    rank = torch.arange(fetch, device=logits.device)

    # top-k: the distribution is renormalised over the k largest, or over the vocabulary where top-k is off.
    unlimited = (parameters.top_k == 0)[:, None]
    keep = (unlimited | (rank < parameters.top_k[:, None])) & (top_logits > -torch.inf)
    normaliser = top_logits.masked_fill(~keep, -torch.inf).logsumexp(-1, keepdim=True)
    if not limited:
        normaliser = torch.where(unlimited, scaled.logsumexp(-1, keepdim=True), normaliser)
    probs = (top_logits - normaliser).exp().masked_fill(~keep, 0.0)

    # top-p: the smallest set that reaches top_p, so a token stays while the mass before it is below top_p.
    mass_before = probs.cumsum(-1) - probs
    keep = keep & ((mass_before < parameters.top_p[:, None]) | (parameters.top_p[:, None] >= 1.0))

    # min-p compares with the most likely token, so the renormalisation in between cancels.
    keep = keep & (probs >= parameters.min_p[:, None] * probs[:, :1])

    keep = (keep & (rank < parameters.max_topk[:, None]))[:, :width]
    kept_logits = top_logits[:, :width].masked_fill(~keep, -torch.inf)
    ids = top_ids[:, :width].masked_fill(~keep, NO_CANDIDATE)
    log_probs = kept_logits.log_softmax(-1)
    if width > fetch:  # a vocabulary smaller than the mixture
        ids = torch.nn.functional.pad(ids, (0, width - fetch), value=NO_CANDIDATE)
        log_probs = torch.nn.functional.pad(log_probs, (0, width - fetch), value=-torch.inf)
    return Candidates(ids=ids, log_probs=log_probs)


def candidate_log_probs(
    logits: Float[Tensor, "rows vocabulary"], ids: Int64[Tensor, "rows slots"], *, normalise_over: str
) -> Float[Tensor, "rows slots"]:
    """l_i(theta): log-probabilities of frozen candidates under other logits, differentiable in the logits.

    Args:
        logits: [N, V] logits, already divided by the sampling temperature.
        ids: [N, K] frozen candidate ids.
        normalise_over: ``"candidates"`` (SofT-GRPO) or ``"vocabulary"`` (Latent-GRPO, and every discrete token).

    Returns:
        [N, K] float32, ``-inf`` in unused slots.
    """
    mask = ids != NO_CANDIDATE
    picked = logits.gather(-1, ids.clamp(min=0)).float()
    if normalise_over == "candidates":
        return picked.masked_fill(~mask, -torch.inf).log_softmax(-1)
    if normalise_over == "vocabulary":
        normalised = picked - logits.float().logsumexp(-1, keepdim=True)
        return normalised.masked_fill(~mask, -torch.inf)
    raise ValueError(f"normalise_over={normalise_over!r} is unknown; use 'candidates' or 'vocabulary'")
