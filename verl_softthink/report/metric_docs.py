"""What each metric under ``softthink/`` means, what a healthy value looks like, and what to do otherwise.

``verl-softthink metrics`` prints the table; a test holds it against what is emitted.
"""

import fnmatch
from dataclasses import dataclass

PREFIX = "softthink/"


@dataclass(frozen=True)
class MetricDoc:
    """One row.

    Attributes:
        name: without ``softthink/``; ``*`` stands for the parts that vary.
        meaning: what is averaged, over what, in which unit.
        healthy: a value to expect.
        otherwise: what to do when it is not.
    """

    name: str
    meaning: str
    healthy: str
    otherwise: str


METRICS: tuple[MetricDoc, ...] = (
    MetricDoc(
        "soft_fraction",
        "share of generated positions that were fed a mixture",
        "0.5 to 0.95, as long as thoughts are longer than answers",
        "near 0: the marker comes at once; look at end_reason and at prompts that end thinking themselves",
    ),
    MetricDoc(
        "thinking_length/*",
        "mean and largest number of drawn positions of a response",
        "mean well below softthink.phase.budget",
        "at the budget: raise it, or set a cold stop; shrinking to nothing: lower the learning rate, check the reward",
    ),
    MetricDoc(
        "answer_length/mean",
        "positions after thinking, per response",
        "what an answer needs",
        "growing: the model thinks in its answer; lower data.max_response_length minus the budget",
    ),
    MetricDoc(
        "end_reason/*",
        "shares of responses whose thinking was ended by marker, budget, cold_stop, switches, or none (the response "
        "ended first); bad_logits never gets here: it ends the run",
        "mostly marker",
        "mostly budget: the marker is not produced (verl-softthink doctor --model); mostly none: raise "
        "data.max_response_length or set a budget",
    ),
    MetricDoc(
        "answer_cut_fraction",
        "share of responses that were stopped at softthink.phase.answer_budget",
        "near 0",
        "near 1: answers are longer than allowed; raise the budget, or place an answer prefix",
    ),
    MetricDoc(
        "no_answer_fraction",
        "share of responses in which nobody sampled a token after thinking: it never ended, or ended at the limit",
        "near 0",
        "set softthink.phase.budget below data.max_response_length, so that an answer has room",
    ),
    MetricDoc(
        "hard_fraction",
        "share of positions that are ordinary tokens of thinking (switching between soft and hard)",
        "0 without switching",
        "near 1 with switching: entropy never rises above its reference; lower softthink.phase.switch_window",
    ),
    MetricDoc(
        "forced_fraction",
        "share of positions placed by phase control, which are in no loss",
        "below 0.05",
        "as end_reason/budget",
    ),
    MetricDoc(
        "effective_tokens/mean",
        "1 / sum of squared weights of a mixture, mean over soft positions; 1 is a single token",
        "1.01 to 2; at tau 0.1 most mixtures are nearly hard",
        "stuck at 1.00: raise softthink.law.tau a little, or the policy is certain; rising towards max_topk: mixtures "
        "blur, lower tau or top_p",
    ),
    MetricDoc(
        "mixture_entropy/mean",
        "entropy of the weights in nats, mean over soft positions",
        "0.01 to 0.5",
        "as effective_tokens",
    ),
    MetricDoc(
        "top_weight/mean", "largest weight of a mixture, mean over soft positions", "0.8 to 0.99", "as effective_tokens"
    ),
    MetricDoc(
        "single_candidate_fraction",
        "share of soft positions to which the filter leaves one candidate: a hard token, whose density does not depend "
        "on the model, so no gradient comes from there (laws normalised over the candidates)",
        "below 0.9",
        "near 1: nothing is left to explore or to learn from; raise softthink.filter.top_p (not to 1), or stop, the "
        "policy is certain",
    ),
    MetricDoc(
        "logit_gap/mean",
        "log-probability of the most likely candidate minus that of the second, in nats, mean over soft positions with "
        "two candidates or more; estimated without bias from the perturbed scores (gumbel and concrete)",
        "1 to 5",
        "growing steadily: the policy becomes certain; watch next_token_entropy and effective_tokens",
    ),
    MetricDoc(
        "noise_to_logit_gap",
        "standard deviation of the noise between two candidates (pi / sqrt(3) times softthink.law.noise_scale), over "
        "logit_gap",
        "0.4 to 2",
        "below 0.2: the noise hardly explores, raise softthink.law.noise_scale; above 4: draws hardly follow the "
        "model, lower it",
    ),
    MetricDoc(
        "noise_wins",
        "share of soft positions whose heaviest candidate is not the most likely one",
        "0.02 to 0.4",
        "as noise_to_logit_gap",
    ),
    MetricDoc(
        "log_prob_gap/*",
        "absolute difference of log-density between actor and rollout, in nats: mean and max, over positions in the "
        "loss, and over drawn and answer positions alone",
        "mean below 1e-3 in fp32, about 1e-1 in bf16",
        "more: stale weights, a precision that differs, or another temperature; a soft position sums over K "
        "candidates, so drawn is larger than answer",
    ),
    MetricDoc(
        "log_ratio_std*",
        "spread of the log of the density ratio actor / rollout before any update, over positions in the loss, and "
        "over drawn positions alone (log_ratio_std/drawn)",
        "below 1e-2 in fp32, below 0.3 in bf16",
        "above 0.5 ratios leave the clip range before learning starts: as log_prob_gap, or use the concrete law, whose "
        "ratios spread less",
    ),
    MetricDoc(
        "log_density_k3",
        "verl's KL loss: k3 of the log-density at soft positions, of token probabilities elsewhere; no KL of token "
        "distributions",
        "rising slowly from 0",
        "a jump: lower the learning rate or raise actor_rollout_ref.actor.kl_loss_coef",
    ),
    MetricDoc(
        "next_token_entropy",
        "entropy of the next-token distribution at every position, in nats; not that of the law",
        "falling slowly",
        "falling to 0 within a few steps: a collapse; lower the learning rate, keep top_p below 1 and tau below 0.25",
    ),
    MetricDoc(
        "entropy_profile/*",
        "the same by position of the chain of thought (softthink.entropy_profile), over the responses that reach it; "
        "and the mean over all positions",
        "the shape that the model had before training",
        "flat: training on tokens removes the uncertain positions; compare with a soft run, verl-softthink "
        "entropy-profile",
    ),
    MetricDoc(
        "attnrl/prompts",
        "prompts sampled in the step",
        "data.train_batch_size at first; slowly moving with an adaptive batch",
        "growing without end: fewer and fewer prompts teach; set softthink.attnrl.largest_batch, or harder data",
    ),
    MetricDoc(
        "attnrl/useful_prompts*",
        "share of prompts whose leaves are neither all right nor all wrong; of the initial responses alone (initial)",
        "0.3 to 0.9, and above that of the initial responses",
        "near 0: the data is too easy or too hard for the model; equal to initial: branches do not change "
        "results, raise softthink.attnrl.continuations or cut earlier",
    ),
    MetricDoc(
        "attnrl/value/*",
        "mean over prompts of the share of right leaves (mean) and of right initial responses (initial)",
        "rising; initial is what an ordinary group would score",
        "mean far below initial: cuts are made where the model then errs more; look at the trees on the trace page",
    ),
    MetricDoc(
        "attnrl/leaves/mean",
        "initial responses and continuations of a prompt",
        "between rollout.n and rollout.n x (1 + points x continuations)",
        "near rollout.n: responses have too few steps; check softthink.attnrl.separators and spacing",
    ),
    MetricDoc(
        "attnrl/branched_responses",
        "share of initial responses that were branched",
        "0.4 to 1",
        "near 0: as leaves/mean, or the attention filter drops most prompts",
    ),
    MetricDoc(
        "attnrl/branch_points/mean",
        "different cuts of a branched response",
        "softthink.attnrl.points",
        "below: responses have fewer steps than points",
    ),
    MetricDoc(
        "attnrl/trained_responses",
        "rows of leaves that are trained",
        "about softthink.attnrl.wanted_responses with an adaptive batch",
        "0: no prompt taught anything in this step, and the update was of the KL term alone",
    ),
    MetricDoc(
        "attnrl/dropped/*",
        "prompts left out: by the attention filter (attention), because their leaves agree (no_signal)",
        "falling with useful_prompts rising",
        "most prompts: as useful_prompts",
    ),
    MetricDoc(
        "attnrl/aborted",
        "continuations that the rollout cut short; they are in no tree",
        "0",
        "above 0: requests were aborted from outside, look at the servers' logs; "
        "extra_fields.softthink_aborted says why",
    ),
    MetricDoc(
        "attnrl/tokens/*",
        "response tokens: sampled in the step (generated), taken over from prefixes (reused), in trained rows"
        " (trained), in their trees (distinct)",
        "trained / distinct 1.4 to 1.7 with the paper's shape",
        "equal: cuts are at the very beginning; much larger: cuts are at the end, consider shared_prefix=dedup",
    ),
    MetricDoc(
        "attnrl/influence/mean",
        "forward context influence of the steps of all initial responses",
        "above 0, stable",
        "0: responses have fewer than seven steps, so that nothing is measured; check softthink.attnrl.separators",
    ),
    MetricDoc(
        "attnrl/log_prob_lag",
        "mean change of log-probs since the initial responses were scored, nats a token, over their trained tokens",
        "below 1e-5; with off_policy=1 below 0.1",
        "more with off_policy=1: one update moves the policy far, lower the learning rate; without: scoring "
        "and old-log-prob pass differ, look at micro-batches and precision",
    ),
)


def documentation(metric: str) -> MetricDoc | None:
    """The row of a metric's full name, or None."""
    name = metric.removeprefix(PREFIX)
    return next((row for row in METRICS if fnmatch.fnmatchcase(name, row.name)), None)
