"""Metrics of posterior traces, under ``softthink/variational/``; ``metric_docs.py`` says how to read them."""

import torch
from tensordict import TensorDict
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from verl_softthink.batch import values_of
from verl_softthink.methods.variational.fields import FROM_MODEL, HINT_TEXT
from verl_softthink.methods.variational.leakage import answer_position, copied_fraction
from verl_softthink.methods.variational.weighting import ScoredTraces
from verl_softthink.report.metric_doc import MetricDoc

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
    from_model = torch.tensor([fields[FROM_MODEL] for fields in values_of(data["extra_fields"])])
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
        values_of(data["extra_fields"]),
        values_of(data["reward_model"]),
        strict=True,
    )
    for ids, trace, extra, reward_model in rows:
        text = tokenizer.decode(ids[trace[: len(ids)]], skip_special_tokens=True)
        copied.append(copied_fraction(text, extra[HINT_TEXT]))
        position.append(answer_position(text, str(reward_model["ground_truth"])))
    return {"copied_fraction": torch.tensor(copied), "answer_position": torch.tensor(position)}


_ROWS = (
    MetricDoc(
        "effective_sample_size/*",
        "1 / sum of squared weights, over the questions that have weight: mean and smallest; 1 is one trace alone",
        "mean above a third of actor_rollout_ref.rollout.n",
        "near 1: one trace decides; use importance=length_normalised, raise model_share, or train the posterior",
    ),
    MetricDoc(
        "largest_weight/mean",
        "largest weight of a question's traces, mean over the questions that have weight",
        "below 0.5",
        "near 1: as effective_sample_size",
    ),
    MetricDoc(
        "dropped_groups",
        "share of questions without a right answer among their traces, which teach nothing in this step",
        "falling",
        "above 0.5 with hints: the hint does not help the model; change hint.template, or train the posterior",
    ),
    MetricDoc(
        "accuracy/*",
        "mean reward of the traces that saw the hint (posterior) and of those that did not (model)",
        "posterior above model",
        "posterior no better: the hint is not read; posterior 1 and model 0 for long: its traces do not transfer, look "
        "at leakage",
    ),
    MetricDoc(
        "leakage/copied_fraction/*",
        "share of the hint's runs of eight words that the trace repeats, by who proposed it (posterior, model)",
        "posterior near model",
        "posterior far above: it copies instead of reasoning; change hint.template, train the posterior",
    ),
    MetricDoc(
        "leakage/answer_position/*",
        "where the trace first states the answer, from 0 (start) to 1 (end, or never), by who proposed it",
        "posterior near model",
        "posterior near 0: the answer comes first and the reasoning after it; as copied_fraction",
    ),
    MetricDoc(
        "proposal_log_prob_gap",
        "absolute difference between rollout's and engine's log-probability of the proposed tokens, mean in nats",
        "about 1e-6 in fp32, below 1e-1 in bf16",
        "more: weights divide by the wrong proposal; look for a temperature or precision that differs",
    ),
)


def _under(prefix: str, when: str) -> tuple[MetricDoc, ...]:
    return tuple(MetricDoc(prefix + row.name, row.meaning + when, row.healthy, row.otherwise) for row in _ROWS)


ROWS = _under("variational/", "") + _under("variational/posterior_step/", "; in a step that trains the posterior")
