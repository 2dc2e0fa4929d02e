"""What each metric under ``softthink/`` means, what a healthy value looks like, and what to do otherwise.

``verl-softthink metrics`` prints the table; a test holds it against what the source emits, in both directions. Here
are the rows of soft rollouts, in the order of the table; those of a method stand beside its code.
"""

import fnmatch
import functools

from verl_softthink.methods import registry
from verl_softthink.report.metric_doc import PREFIX, MetricDoc

ROWS = (
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
        "ended first); bad_logits, bad_draw and not_fed never get here: they end the run",
        "mostly marker",
        "mostly budget: the marker is not produced (verl-softthink doctor --model); mostly none: raise "
        "data.max_response_length or set a budget",
    ),
    MetricDoc(
        "answer_cut_fraction",
        "share of responses that were stopped at softthink.phase.answer_budget",
        "near 0",
        "near 1: answers are longer than allowed; raise the budget, or force an answer prefix",
    ),
    MetricDoc(
        "no_answer_fraction",
        "share of responses in which nobody sampled a token after thinking: it never ended, or ended at the limit",
        "near 0",
        "set softthink.phase.budget below data.max_response_length, so that an answer has room",
    ),
    MetricDoc(
        "grader_failures",
        "responses of the step on which the reward function raised an exception, which are scored 0",
        "0",
        "search the log for the digest and the exception of each answer; mend reward.custom_reward_function",
    ),
    MetricDoc(
        "discrete_fraction",
        "share of positions that are ordinary tokens of thinking (switching between soft steps and tokens)",
        "0 without switching",
        "near 1 with switching: entropy never rises above its reference; lower softthink.phase.switch_window",
    ),
    MetricDoc(
        "forced_fraction",
        "share of positions forced by phase control, which are masked from the loss",
        "below 0.05",
        "as end_reason/budget",
    ),
    MetricDoc(
        "effective_tokens/mean",
        "1 / sum of squared weights of a mixture's different tokens (equal draws are one), mean over soft positions; 1 "
        "is a single token. Of a drawn embedding (gaussian) it measures the candidates in the trace, renormalised: "
        "neither the noise, nor what the mean holds beyond them",
        "1.01 to 2; at tau 0.1 most mixtures are nearly hard",
        "stuck at 1.00: raise softthink.law.tau a little, or the policy is certain; rising towards max_topk: mixtures "
        "blur, lower tau or top_p",
    ),
    MetricDoc(
        "mixture_entropy/mean",
        "entropy of the weights in nats, of the same mixtures as effective_tokens, mean over soft positions",
        "0.01 to 0.5",
        "as effective_tokens",
    ),
    MetricDoc(
        "top_weight/mean",
        "largest weight of a token, in the same mixtures as effective_tokens, mean over soft positions",
        "0.8 to 0.99",
        "as effective_tokens",
    ),
    MetricDoc(
        "single_candidate_fraction",
        "share of soft positions whose mixture has one token: a hard token. Where the filter leaves one candidate, its "
        "density does not depend on the model, so no gradient comes from there (laws normalised over the candidates); "
        "of multiplex, all draws were equal; of a drawn embedding, the mean before its noise has one candidate",
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
        "versions/*",
        "by how many policies the positions of a response were drawn: mean and largest; of asynchronous trainers",
        "mean below 2",
        "many: responses are long beside a step; raise data.train_batch_size, or lower "
        "trainer.v1.colocate_async.num_warmup_batches",
    ),
    MetricDoc(
        "resumed_responses",
        "responses of the step that were aborted and went on under newer weights, from what they had thought",
        "0 in the first step, then a part of the batch",
        "0 in every step: nothing is under way when a step begins to train, so the synchronous mode is as fast",
    ),
    MetricDoc(
        "lag_*/share",
        "share of positions that were drawn by weights so many updates behind the step's",
        "mostly lag_0 and lag_1",
        "high lags: lower trainer.v1.sampler.max_off_policy_threshold or num_warmup_batches",
    ),
    MetricDoc(
        "lag_*/log_prob_gap",
        "mean absolute difference of log-density between the step's policy and the one that drew the position, "
        "in nats, over positions in the loss",
        "lag_0 as log_prob_gap/mean; growing with the lag, well below 1",
        "above 1: algorithm.rollout_correction (rollout_is, rollout_rs), a lower learning rate, or a lower lag",
    ),
    MetricDoc(
        "log_density_k3",
        "verl's KL loss: k3 of the log-density at soft positions, of token probabilities elsewhere; no KL of token "
        "distributions",
        "rising slowly from 0",
        "a jump: lower the learning rate or raise actor_rollout_ref.actor.kl_loss_coef",
    ),
    MetricDoc(
        "grad_norm/*",
        "gradient norm of an update before clipping, of the embedding table, the layers and an untied head (FSDP 2); "
        "actor/grad_norm is that of all, and what is clipped",
        "of one order of magnitude",
        "table far above layers: the law's noise is mostly in the table, and clipping takes the layers' share; compare "
        "laws with verl-softthink bench gradient",
    ),
    MetricDoc(
        "next_token_entropy",
        "entropy of the next-token distribution at every position, in nats; not that of the law",
        "falling slowly",
        "falling to 0 within a few steps: a collapse; lower the learning rate, keep top_p below 1 and tau below 0.25",
    ),
)


@functools.cache
def metrics() -> tuple[MetricDoc, ...]:
    """The rows of soft rollouts and those of all methods."""
    return (*ROWS, *(row for rows in registry.parts("metrics") for row in rows))


def documentation(metric: str) -> MetricDoc | None:
    """The row of a metric's full name, or None."""
    name = metric.removeprefix(PREFIX)
    return next((row for row in metrics() if fnmatch.fnmatchcase(name, row.name)), None)
