"""Whose weights drew a batch's positions: metrics of an asynchronous trainer, which ``metric_docs.py`` explains.

A position's version is the training step after which its weights were sent; its lag is how many updates they lie behind
the policy that the batch is scored with.
"""

import torch
from tensordict import TensorDict
from torch import Tensor

from verl_softthink.rollout.fields import VERSION


def version_metrics(data: TensorDict, step: int) -> dict[str, float]:
    """Metrics of one batch.

    Args:
        data: jagged ``softthink_version``, ``response_mask``, ``old_log_probs`` and ``rollout_log_probs``.
        step: the training step, numbered from 1, which begins with the weights of the one before.
    """
    versions = data[VERSION].unbind()
    spans = torch.tensor([len(row.unique()) for row in versions], dtype=torch.float32)
    lag = step - 1 - _flat(data[VERSION])
    trained = _flat(data["response_mask"]).bool()
    gap = (_flat(data["old_log_probs"]) - _flat(data["rollout_log_probs"])).abs().float()
    metrics = {
        "softthink/versions/mean": float(spans.mean()),
        "softthink/versions/max": float(spans.max()),
        "softthink/resumed_responses": float((spans > 1).sum()),
    }
    for updates in lag.unique().tolist():
        of_lag = lag == updates
        metrics[f"softthink/lag_{updates}/share"] = float(of_lag.float().mean())
        if (of_lag & trained).any():
            metrics[f"softthink/lag_{updates}/log_prob_gap"] = float(gap[of_lag & trained].mean())
    return metrics


def _flat(field: Tensor) -> Tensor:
    return torch.cat(list(field.unbind()))
