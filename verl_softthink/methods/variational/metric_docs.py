"""Metrics of posterior traces, in the order of the printed table.

A step that trains the posterior logs them under ``posterior_step/``: its traces are all the model's own.
"""

from verl_softthink.report.metric_doc import MetricDoc

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
