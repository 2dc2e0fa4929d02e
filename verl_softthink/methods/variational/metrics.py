"""Metrics of posterior traces, under ``softthink/variational/``; ``metric_docs.py`` says how to read them."""

from collections.abc import Iterable

import torch
from tensordict import TensorDict
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from verl_softthink.methods.variational.fields import FROM_MODEL, HINT_TEXT
from verl_softthink.methods.variational.leakage import answer_position, copied_fraction
from verl_softthink.methods.variational.weighting import ScoredTraces

PREFIX = "softthink/variational/"


def named(metrics: dict[str, float], *, posterior_step: bool) -> dict[str, float]:
    """Metrics of one step under their full names."""
    prefix = f"{PREFIX}posterior_step/" if posterior_step else PREFIX
    return {prefix + name: value for name, value in metrics.items()}


def rollout_metrics(data: TensorDict, traces: ScoredTraces, tokenizer: PreTrainedTokenizerBase) -> dict[str, float]:
    """Accuracy and leakage of each proposal, and how well its log-probs in the rollout and the engine agree.

    Args:
        data: jagged ``responses`` and ``rollout_log_probs``, and the objects ``extra_fields`` and ``reward_model``.
        traces: the same N rows, padded.
        tokenizer: of the policy.
    """
    from_model = torch.tensor([fields[FROM_MODEL] for fields in objects(data["extra_fields"])])
    rollout = data["rollout_log_probs"].to_padded_tensor(0)
    proposal = torch.where(from_model[:, None], traces.model, traces.posterior)
    gap = (rollout - proposal).abs().masked_fill(~traces.trace, 0.0).sum() / traces.trace.sum()
    metrics = {"proposal_log_prob_gap": gap.item()}
    leakage = _leakage(data, traces, tokenizer)
    for name, rows in (("posterior", ~from_model), ("model", from_model)):
        if rows.any():
            metrics[f"accuracy/{name}"] = traces.rewards[rows].mean().item()
            for measure, values in leakage.items():
                metrics[f"leakage/{measure}/{name}"] = values[rows].mean().item()
    return metrics


def _leakage(data: TensorDict, traces: ScoredTraces, tokenizer: PreTrainedTokenizerBase) -> dict[str, Tensor]:
    """[N] each: see ``leakage.py``."""
    copied, position = [], []
    rows = zip(
        data["responses"].unbind(),
        traces.trace,
        objects(data["extra_fields"]),
        objects(data["reward_model"]),
        strict=True,
    )
    for ids, trace, extra, reward_model in rows:
        text = tokenizer.decode(ids[trace[: len(ids)]], skip_special_tokens=True)
        copied.append(copied_fraction(text, extra[HINT_TEXT]))
        position.append(answer_position(text, str(reward_model["ground_truth"])))
    return {"copied_fraction": torch.tensor(copied), "answer_position": torch.tensor(position)}


def objects(column: Iterable) -> list:
    """The rows of a column of Python objects, whichever container the storage back end wraps them in."""
    return [getattr(value, "data", value) for value in column]
