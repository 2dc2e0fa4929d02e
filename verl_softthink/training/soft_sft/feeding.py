"""The mixtures that thoughts are fed during fine-tuning, as pure functions of targets, logits and a generator.

Jitter of a target q over its candidates, eps_i ~ N(0, 1), d ~ U(0, leak), u uniform over other candidates:

    w_i  proportional to  q_i exp(sigma eps_i),        fed = (1 - d) w + d u

A law draws from the result, or from the model's own logits, what it would draw in the rollout.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from verl_softthink.config.settings import FilterSettings, LawSettings
from verl_softthink.laws import (
    LAWS,
    NO_CANDIDATE,
    Candidates,
    FilterParameters,
    candidate_log_probs,
    select_candidates,
)
from verl_softthink.training.soft_sft.settings import JitterSettings

#: Seeds of a law's noise are drawn below this.
_SEEDS = 2**62


@dataclass(frozen=True)
class Fed:
    """The mixtures of N thoughts.

    Attributes:
        ids: [N, S] int64, distinct in each row, ``NO_CANDIDATE`` in unused slots.
        weights: [N, S] float32, each row summing to 1; 0 in unused slots.
    """

    ids: Int64[Tensor, "thoughts slots"]
    weights: Float[Tensor, "thoughts slots"]

    def replaced(self, where: Tensor, other: "Fed") -> "Fed":
        """These mixtures with those of ``other`` where ``where`` [N] is true."""
        slots = max(self.ids.shape[1], other.ids.shape[1])
        mine, others = self._widened(slots), other._widened(slots)
        return Fed(
            torch.where(where[:, None], others.ids, mine.ids), torch.where(where[:, None], others.weights, mine.weights)
        )

    def _widened(self, slots: int) -> "Fed":
        more = (0, slots - self.ids.shape[1])
        pad = torch.nn.functional.pad
        return Fed(pad(self.ids, more, value=NO_CANDIDATE), pad(self.weights, more))


def jittered(targets: Fed, settings: JitterSettings, generator: torch.Generator) -> Fed:
    """The targets with noise.

    Args:
        targets: [N, K] distributions.
        generator: on the targets' device.
    """
    device = targets.weights.device
    noise = torch.randn(targets.weights.shape, generator=generator, device=device)
    weights = targets.weights * (settings.sigma * noise).exp()
    weights = weights / weights.sum(-1, keepdim=True)
    if settings.leak == 0:
        return Fed(targets.ids, weights)
    others = _others(targets.ids, settings.leak_slots, generator)
    share = settings.leak * torch.rand(len(weights), 1, generator=generator, device=device)
    spread = (share / others.shape[1]).expand_as(others)
    return merged(torch.cat((targets.ids, others), -1), torch.cat(((1 - share) * weights, spread), -1))


def merged(ids: Int64[Tensor, "thoughts slots"], weights: Float[Tensor, "thoughts slots"]) -> Fed:
    """Mixtures in which each token has one slot, its first, with the weights of all of its slots."""
    same = ids[:, :, None] == ids[:, None, :]
    total = torch.where(same, weights[:, None, :], 0.0).sum(-1)
    first = same.int().argmax(-1) == torch.arange(ids.shape[1], device=ids.device)
    used = first & (ids != NO_CANDIDATE)
    return Fed(ids.masked_fill(~used, NO_CANDIDATE), total.masked_fill(~used, 0.0))


def drawn(
    ids: Int64[Tensor, "thoughts slots"],
    logits: Float[Tensor, "thoughts slots"],
    law: LawSettings | None,
    filter: FilterSettings,
    generator: torch.Generator,
) -> Fed:
    """What the rollout would feed, given these logits.

    Args:
        ids: [N, S] the token of each logit, ``NO_CANDIDATE`` in unused slots.
        logits: [N, S], or log-weights; -inf in unused slots.
        law: the rollout's; None feeds the filtered distribution.
        filter: the rollout's.
        generator: on the logits' device.
    """
    rows, device = len(logits), logits.device
    scaled = logits.float() / filter.temperature
    own = LAWS[law.name] if law is not None else None
    if own is not None and own.whole_vocabulary:
        # Slots in the order of their ids: a law may invert the cumulative distribution.
        slots = torch.arange(scaled.shape[1], device=device).expand(rows, -1)
        candidates = Candidates(slots, scaled.log_softmax(-1))
    else:
        parameters = FilterParameters.uniform(rows, **filter.model_dump(), device=device)
        width = filter.max_topk
        fetch = scaled.shape[1] if filter.top_k == 0 else max(filter.top_k, width)
        candidates = select_candidates(logits, parameters, width=width, fetch=max(fetch, width))
        if own is not None and law.normaliser == "vocabulary":
            log_probs = candidate_log_probs(scaled, candidates.ids, normalise_over="vocabulary")
            candidates = Candidates(candidates.ids, log_probs)
    if own is None:
        chosen, weights = candidates.ids, candidates.log_probs.exp()
    else:
        columns = own.columns(rows, device=device, **law.parameters)
        seed = torch.randint(_SEEDS, (rows,), generator=generator, device=device)
        action = own.sample(
            candidates, columns, own.noise(seed, torch.zeros_like(seed), candidates, max(law.slots, filter.max_topk))
        )
        chosen, weights = action.ids, own.weights(action, columns)
    tokens = ids.gather(-1, chosen.clamp(min=0)).masked_fill(chosen == NO_CANDIDATE, NO_CANDIDATE)
    return merged(tokens, weights.float())


def _others(ids: Tensor, slots: int, generator: torch.Generator) -> Tensor:
    """[N, at most ``slots``] candidates of any of the thoughts: all of them, or a draw for each thought."""
    pool = ids[ids != NO_CANDIDATE].unique()
    if len(pool) <= slots:
        return pool.expand(len(ids), -1)
    # With replacement: a token that is drawn twice gets twice the mass.
    return pool[torch.randint(len(pool), (len(ids), slots), generator=generator, device=ids.device)]
