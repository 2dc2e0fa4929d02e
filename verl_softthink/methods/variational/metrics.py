"""Metrics of posterior thoughts, under ``softthink/variational/``, and how to read them.

Leakage asks whether a thought quotes its hint instead of deriving it. A right derivation overlaps with the solution
anyway, so only the difference between thoughts of the posterior and of the model on the same questions is meaningful.
"""

import re

import torch
from tensordict import TensorDict
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from verl_softthink.batch import values_of
from verl_softthink.methods.variational.fields import FROM_MODEL, HINT_TEXT
from verl_softthink.methods.variational.weighting import ScoredThoughts
from verl_softthink.report.metric_doc import MetricDoc

PREFIX = "softthink/variational/"
#: Consecutive words that count as a quotation: longer than stock phrases, shorter than a sentence.
QUOTATION_WORDS = 8
_WORDS = re.compile(r"\w+|[^\w\s]")


def named(metrics: dict[str, float], *, posterior_step: bool) -> dict[str, float]:
    """Metrics of one step under their full names."""
    prefix = f"{PREFIX}posterior_step/" if posterior_step else PREFIX
    return {prefix + name: value for name, value in metrics.items()}


def rollout_metrics(data: TensorDict, thoughts: ScoredThoughts, tokenizer: PreTrainedTokenizerBase) -> dict[str, float]:
    """Accuracy and leakage of each proposal, and how well its log-probs in the rollout and the engine agree.

    Args:
        data: jagged ``responses`` and ``rollout_log_probs``, and the objects ``extra_fields`` and ``reward_model``.
        thoughts: the same N rows, padded.
        tokenizer: of the policy.
    """
    from_model = torch.tensor([fields[FROM_MODEL] for fields in values_of(data["extra_fields"])])
    rollout = data["rollout_log_probs"].to_padded_tensor(0)
    proposal = torch.where(from_model[:, None], thoughts.model, thoughts.posterior)
    gap = (rollout - proposal).abs().masked_fill(~thoughts.thought, 0.0).sum() / thoughts.thought.sum()
    metrics = {"proposal_log_prob_gap": gap.item()}
    leakage = _leakage(data, thoughts, tokenizer)
    for name, rows in (("posterior", ~from_model), ("model", from_model)):
        if rows.any():
            metrics[f"accuracy/{name}"] = thoughts.rewards[rows].mean().item()
            for measure, values in leakage.items():
                metrics[f"leakage/{measure}/{name}"] = values[rows].mean().item()
    return metrics


def _leakage(data: TensorDict, thoughts: ScoredThoughts, tokenizer: PreTrainedTokenizerBase) -> dict[str, Tensor]:
    """[N] each, by name."""
    copied, position = [], []
    rows = zip(
        data["responses"].unbind(),
        thoughts.thought,
        values_of(data["extra_fields"]),
        values_of(data["reward_model"]),
        strict=True,
    )
    for ids, thought, extra, reward_model in rows:
        text = tokenizer.decode(ids[thought[: len(ids)]], skip_special_tokens=True)
        copied.append(copied_fraction(text, extra[HINT_TEXT]))
        position.append(answer_position(text, str(reward_model["ground_truth"])))
    return {"copied_fraction": torch.tensor(copied), "answer_position": torch.tensor(position)}


def copied_fraction(thought: str, hint: str) -> float:
    """Share, in [0, 1], of the hint's runs of ``QUOTATION_WORDS`` words that the thought contains.

    A hint with fewer words is one run. A word is a run of letters and digits, or any other single character but spaces.
    """
    words, said = _WORDS.findall(hint), _WORDS.findall(thought)
    size = min(QUOTATION_WORDS, len(words))
    if not size:
        return 0.0
    runs = {tuple(said[start : start + size]) for start in range(len(said) - size + 1)}
    quoted = [tuple(words[start : start + size]) in runs for start in range(len(words) - size + 1)]
    return sum(quoted) / len(quoted)


def answer_position(thought: str, answer: str) -> float:
    """Where the thought first states the answer, in whole words: from 0 at its start to 1 at its end or never.

    It is small for a thought that states the answer before deriving it.
    """
    words, said = _WORDS.findall(answer), _WORDS.findall(thought)
    if not words:
        return 1.0
    for start in range(len(said) - len(words) + 1):
        if said[start : start + len(words)] == words:
            return start / len(said)
    return 1.0


_ROWS = (
    MetricDoc(
        "effective_sample_size/*",
        "1 / sum of squared weights, over the questions that have weight: mean and smallest; 1 is a single thought",
        "mean above a third of actor_rollout_ref.rollout.n",
        "near 1: one thought has all weight; use importance=length_normalised, raise model_share, train the posterior",
    ),
    MetricDoc(
        "largest_weight/mean",
        "largest weight of a question's thoughts, mean over the questions that have weight",
        "below 0.5",
        "near 1: as effective_sample_size",
    ),
    MetricDoc(
        "dropped_groups",
        "share of questions without a right answer among their thoughts, which contribute no gradient",
        "falling",
        "above 0.5 with hints: the hint does not help the model; change hint.template, or train the posterior",
    ),
    MetricDoc(
        "accuracy/*",
        "mean reward of the thoughts that saw the hint (posterior) and of those that did not (model)",
        "posterior above model",
        "posterior no better: the hint is not used; posterior 1 and model 0 over many steps: its thoughts do not "
        "transfer, see leakage",
    ),
    MetricDoc(
        "leakage/copied_fraction/*",
        "share of the hint's runs of eight words that the thought repeats, by proposal (posterior, model)",
        "posterior near model",
        "posterior far above: it copies instead of reasoning; change hint.template, train the posterior",
    ),
    MetricDoc(
        "leakage/answer_position/*",
        "where the thought first states the answer, from 0 (start) to 1 (end, or never), by proposal",
        "posterior near model",
        "posterior near 0: the answer comes first and the reasoning after it; as copied_fraction",
    ),
    MetricDoc(
        "proposal_log_prob_gap",
        "absolute difference between the rollout's and the engine's log-probs of the thoughts, mean in nats per token",
        "about 1e-6 in fp32, below 1e-1 in bf16",
        "more: weights divide by the wrong proposal; look for a temperature or precision that differs",
    ),
)


def _under(prefix: str, when: str) -> tuple[MetricDoc, ...]:
    return tuple(MetricDoc(prefix + row.name, row.meaning + when, row.healthy, row.otherwise) for row in _ROWS)


ROWS = _under("variational/", "") + _under("variational/posterior_step/", "; in a step that trains the posterior")
