"""Metrics of soft rollouts, under ``softthink/`` in verl's own trackers; ``metric_docs.py`` says how to read them."""

from collections.abc import Iterable

import torch
from tensordict import TensorDict
from torch import Tensor

from verl_softthink.config.settings import LawSettings
from verl_softthink.data.guarded_reward import FAILURE
from verl_softthink.laws import LAWS, Action
from verl_softthink.likelihood.fields import DRAWN, IDS, SOFT, VALUES
from verl_softthink.likelihood.parameter_groups import METRICS as GRADIENT_NORMS
from verl_softthink.rollout.fields import FORCED
from verl_softthink.trace import END_REASONS

#: Fields of a row that ``soft_metrics`` reads.
FIELDS = (
    SOFT,
    DRAWN,
    FORCED,
    IDS,
    VALUES,
    "response_mask",
    "rollout_log_probs",
    "old_log_probs",
    "extra_fields",
)
#: Metrics of verl's actor, and of our engine with verl's "actor/" in front, under names that say what they are here.
RENAMED = {
    "actor/kl_loss": "softthink/log_density_k3",
    "actor/entropy": "softthink/next_token_entropy",
    **{f"actor/{name}": name for name in GRADIENT_NORMS.values()},
}


def soft_metrics(data: TensorDict, law: LawSettings) -> dict[str, float]:
    """Metrics of one batch of B responses.

    Args:
        data: jagged trace fields, ``response_mask``, ``rollout_log_probs``, ``old_log_probs`` and ``extra_fields``.
        law: the law that drew the traces.
    """
    soft = _flat(data[SOFT])
    drawn = _flat(data[DRAWN])
    mask = _flat(data["response_mask"]).bool()
    lengths = torch.tensor([len(row) for row in data[SOFT]], dtype=torch.float32)
    thinking = torch.tensor([int(row.sum()) for row in data[DRAWN]], dtype=torch.float32)
    metrics = {
        "softthink/soft_fraction": float(soft.float().mean()),
        "softthink/thinking_length/mean": float(thinking.mean()),
        "softthink/thinking_length/max": float(thinking.max()),
        "softthink/answer_length/mean": float((lengths - thinking).mean()),
        "softthink/forced_fraction": float(_flat(data[FORCED]).float().mean()),
    }
    # A list of dictionaries, whichever container the storage back end wraps it in.
    records = [getattr(fields, "data", fields) for fields in list(data["extra_fields"])]
    reasons = [record["softthink_end_reason"] for record in records]
    discrete = torch.tensor([record["softthink_discrete_positions"] for record in records])
    forced = torch.tensor([int(row.sum()) for row in data[FORCED]])
    metrics["softthink/answer_cut_fraction"] = sum(record["softthink_answer_cut"] for record in records) / len(records)
    metrics["softthink/no_answer_fraction"] = float((lengths - thinking - discrete - forced <= 0).float().mean())
    metrics["softthink/discrete_fraction"] = float(discrete.sum() / lengths.sum())
    for reason in END_REASONS:
        metrics[f"softthink/end_reason/{reason}"] = reasons.count(reason) / len(reasons)
    if soft.any():
        action = Action(ids=_flat(data[IDS])[soft].long(), values=_flat(data[VALUES])[soft])
        mixture = LAWS[law.name].mixture(action, law.columns(len(action.ids)))
        metrics["softthink/single_candidate_fraction"] = float((mixture.tokens == 1).float().mean())
        metrics |= noise_metrics(action, law)
        metrics["softthink/effective_tokens/mean"] = float(mixture.effective_tokens.mean())
        metrics["softthink/mixture_entropy/mean"] = float(mixture.entropy.mean())
        metrics["softthink/top_weight/mean"] = float(mixture.top_weight.mean())
    gap = (_flat(data["old_log_probs"]) - _flat(data["rollout_log_probs"])).float()
    for name, where in (("", mask), ("/drawn", mask & drawn), ("/answer", mask & ~drawn)):
        if where.any():
            metrics[f"softthink/log_prob_gap{name}/mean"] = float(gap[where].abs().mean())
            metrics[f"softthink/log_prob_gap{name}/max"] = float(gap[where].abs().max())
    for name, where in (("", mask), ("/drawn", mask & drawn)):
        if where.sum() > 1:
            metrics[f"softthink/log_ratio_std{name}"] = float(gap[where].std())
    return metrics


def grader_failures(extra_fields: Iterable[object]) -> dict[str, float]:
    """How many rows the reward function failed on; nothing for rows without verdicts, as of a reward model.

    Args:
        extra_fields: verl's ``extra_fields`` of each row, bare or as the storage back end wraps it.
    """
    verdicts = [getattr(fields, "data", fields).get("reward_extra_info") or {} for fields in extra_fields]
    failures = [verdict[FAILURE] for verdict in verdicts if FAILURE in verdict]
    return {"softthink/grader_failures": float(sum(failures))} if failures else {}


def noise_metrics(action: Action, law: LawSettings) -> dict[str, float]:
    """How much of the draws is noise, for laws whose values are perturbed scores g' = l + s eps; else empty.

    Candidates are stored most likely first, so the most likely is in slot 0. The noise of two candidates has the same
    mean, hence E[g'_0 - g'_1] = l_0 - l_1.

    Args:
        action: [N, K], what was drawn at soft positions.
        law: the law that drew it.
    """
    several = action.mask.sum(-1) > 1
    noise = LAWS[law.name].score_noise(law.parameters)
    if noise is None or not several.any():
        return {}
    values = action.values[several]
    gap = float((values[:, 0] - values[:, 1]).mean())
    heaviest = action.values.masked_fill(~action.mask, -torch.inf).argmax(-1)
    metrics = {"softthink/logit_gap/mean": gap, "softthink/noise_wins": float((heaviest != 0).float().mean())}
    if gap > 0:  # an estimate from few positions may be below 0, where the quotient means nothing
        metrics["softthink/noise_to_logit_gap"] = noise / gap
    return metrics


def _flat(field: Tensor) -> Tensor:
    """Concatenate the rows of a jagged or dense batch field along its positions."""
    return torch.cat(list(field.unbind()))
