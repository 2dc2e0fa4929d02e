"""Metrics of soft rollouts, under ``softthink/`` in verl's own trackers.

soft_fraction               share of positions that were fed a mixture. Near 0: the marker comes at once.
effective_tokens/mean       1 / sum y^2. At 1 the mixtures are hard tokens: raise law.tau, or the policy is certain.
mixture_entropy, top_weight the same in nats, and as the largest weight.
thinking_length/mean        drawn positions. Well below phase.budget; otherwise raise the budget.
end_reason/*                shares of marker, budget, cold_stop, switches and none; mostly budget: thinking does not end
                            itself. bad_logits never gets here: it ends the run.
answer_cut_fraction         responses stopped at phase.answer_budget; near 1: answers are longer than allowed.
no_answer_fraction          responses in which nobody sampled a token after thinking: it never ended, or at the limit.
hard_fraction               ordinary tokens of thinking (switching), of all positions.
forced_fraction             tokens placed by phase control; they take no part in the loss.
log_prob_gap/{mean,max}     |actor - rollout| log-density. Mean below 1e-3 in fp32 and about 1e-1 in bf16; more means
                            stale weights or a precision that differs. Also for drawn and for answer positions.
log_ratio_std               spread of the same difference.
log_density_k3              the KL loss: k3 of the log-density at soft positions, not a KL of token distributions.
next_token_entropy          entropy of the next-token distribution at every position, not of the law.
"""

import torch
from tensordict import TensorDict
from torch import Tensor

from verl_softthink.config.settings import LawSettings
from verl_softthink.laws import LAWS, Action
from verl_softthink.trace import END_REASONS


def soft_metrics(data: TensorDict, law: LawSettings) -> dict[str, float]:
    """Metrics of one batch of B responses.

    Args:
        data: jagged trace fields, ``response_mask``, ``rollout_log_probs``, ``old_log_probs`` and ``extra_fields``.
        law: the law that drew the traces.
    """
    soft = _flat(data["softthink_soft"])
    drawn = _flat(data["softthink_drawn"])
    mask = _flat(data["response_mask"]).bool()
    lengths = torch.tensor([len(row) for row in data["softthink_soft"]], dtype=torch.float32)
    thinking = torch.tensor([int(row.sum()) for row in data["softthink_drawn"]], dtype=torch.float32)
    metrics = {
        "softthink/soft_fraction": float(soft.float().mean()),
        "softthink/thinking_length/mean": float(thinking.mean()),
        "softthink/thinking_length/max": float(thinking.max()),
        "softthink/answer_length/mean": float((lengths - thinking).mean()),
        "softthink/forced_fraction": float(_flat(data["softthink_forced"]).float().mean()),
    }
    # A list of dictionaries, whichever container the storage back end wraps it in.
    records = [getattr(fields, "data", fields) for fields in list(data["extra_fields"])]
    reasons = [record["softthink_end_reason"] for record in records]
    hard = torch.tensor([record["softthink_hard_positions"] for record in records])
    forced = torch.tensor([int(row.sum()) for row in data["softthink_forced"]])
    metrics["softthink/answer_cut_fraction"] = sum(record["softthink_answer_cut"] for record in records) / len(records)
    metrics["softthink/no_answer_fraction"] = float((lengths - thinking - hard - forced <= 0).float().mean())
    metrics["softthink/hard_fraction"] = float(hard.sum() / lengths.sum())
    for reason in END_REASONS:
        metrics[f"softthink/end_reason/{reason}"] = reasons.count(reason) / len(reasons)
    if soft.any():
        weights = _weights(_flat(data["softthink_ids"])[soft], _flat(data["softthink_values"])[soft], law)
        metrics["softthink/effective_tokens/mean"] = float((1 / weights.square().sum(-1)).mean())
        metrics["softthink/mixture_entropy/mean"] = float(torch.special.entr(weights).sum(-1).mean())
        metrics["softthink/top_weight/mean"] = float(weights.max(-1).values.mean())
    gap = (_flat(data["old_log_probs"]) - _flat(data["rollout_log_probs"])).float()
    for name, where in (("", mask), ("/drawn", mask & drawn), ("/answer", mask & ~drawn)):
        if where.any():
            metrics[f"softthink/log_prob_gap{name}/mean"] = float(gap[where].abs().mean())
            metrics[f"softthink/log_prob_gap{name}/max"] = float(gap[where].abs().max())
    metrics["softthink/log_ratio_std"] = float(gap[mask].std()) if mask.sum() > 1 else 0.0
    return metrics


def _weights(ids: Tensor, values: Tensor, law: LawSettings) -> Tensor:
    return LAWS[law.name].weights(Action(ids=ids.long(), values=values), law.parameters(len(ids)))


def _flat(field: Tensor) -> Tensor:
    """Concatenate the rows of a jagged or dense batch field along its positions."""
    return torch.cat(list(field.unbind()))
