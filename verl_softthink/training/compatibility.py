"""verl's choices, each looked at: is it right where log-probs are log-densities of mixtures?

A density has a unit: in another one, every log-density of a position shifts by a constant, whoever computes it. What
depends on differences of log-densities, or on their gradient, is right. What reads exp(log-prob) as a probability, or
compares log-densities of different positions, means nothing, and is refused. ``recipes/COMPATIBILITY.md`` is this
table; a name that verl adds to its registries is refused until it stands here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from verl_softthink.training import verl_registries


class Verdict(StrEnum):
    """What a value is worth; the texts are those of the document."""

    RIGHT = "right"
    REMARK = "right, with a remark"
    #: With a law.
    REFUSED = "refused"
    #: With or without a law: verl's V1 trainer ends with an error, or trains something else.
    BROKEN = "refused, with or without a law"


@dataclass(frozen=True)
class Entry:
    """One value: what it is worth, and why."""

    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class Choice:
    """One setting of verl with a list of values.

    Attributes:
        key: in verl's configuration; a comma-separated value is several.
        entries: by value.
        registered: verl's registry of such values and objects, where it has one; values there that somebody else's
            module defines are that module's responsibility.
        used_if: key of a switch without which the value is not read.
    """

    key: str
    entries: Mapping[str, Entry]
    registered: Callable[[], Mapping[str, object]] | None = None
    used_if: str | None = None


def _all(names: str, verdict: Verdict, reason: str) -> dict[str, Entry]:
    return {name: Entry(verdict, reason) for name in names.split()}


_RIGHT, _REMARK, _REFUSED, _BROKEN = Verdict.RIGHT, Verdict.REMARK, Verdict.REFUSED, Verdict.BROKEN
_RATIO = "reads the ratio of two densities of one draw"
_SCORES = "reads rewards and the mask only"
_AT_POSITION = "reads rewards through the mask: our trainer moves one on a forced token to the last sampled position"
_TOKEN_BASELINE = "reads exp(log-prob) as a probability; and verl's V1 trainer never fills sum_pi_squared"
_KL = {
    **_all("kl k1 abs mse k2 kl+ k1+ abs+ mse+ k2+", _RIGHT, "reads the log-ratio"),
    **_all(
        "low_var_kl k3 low_var_kl+ k3+",
        _REMARK,
        "reads the log-ratio; verl cuts k3 off at 10, which densities in many dimensions reach sooner",
    ),
    "full": Entry(_BROKEN, "verl has no implementation of it"),
}

CHOICES: tuple[Choice, ...] = (
    Choice(
        "actor_rollout_ref.actor.policy_loss.loss_mode",
        {
            **_all("vanilla gspo sapo geo_mean", _RIGHT, _RATIO),
            "gpg": Entry(_RIGHT, "reads the gradient of the log-density; the value of the loss has the unit"),
            "cispo": Entry(_RIGHT, f"{_RATIO}, and the gradient; the value of the loss has the unit"),
            "dro": Entry(_RIGHT, "reads the log-ratio and the gradient; the value of the loss has the unit"),
            "bypass_mode": Entry(_RIGHT, "reads the ratio to the rollout's density; both of its losses are above"),
            **_all("dppo_tv dppo_kl", _REFUSED, "compares exp(log-prob) as probabilities"),
            **_all("clip_cov kl_cov", _REFUSED, "ranks positions by log-prob, and their densities have no common unit"),
        },
        registered=verl_registries.policy_losses,
    ),
    Choice(
        "algorithm.adv_estimator",
        {
            **_all("grpo grpo_vectorized grpo_passk rloo rloo_vectorized opo gpg", _RIGHT, _SCORES),
            "reinforce_plus_plus_baseline": Entry(_RIGHT, _SCORES),
            "reinforce_plus_plus": Entry(_RIGHT, _AT_POSITION),
            "gae": Entry(
                _REMARK,
                f"{_AT_POSITION}. The critic reads the shown tokens, not what was fed: a baseline that knows less, "
                "unbiased at algorithm.lam=1 only; with a law other values are refused",
            ),
            "remax": Entry(_BROKEN, "verl's V1 trainer makes no greedy rollouts and passes no reward_baselines"),
            "gdpo": Entry(_BROKEN, "verl's V1 trainer does not pass the rewards by key"),
            **_all("optimal_token_baseline tir_optimal_token_baseline", _BROKEN, _TOKEN_BASELINE),
        },
        registered=verl_registries.estimators,
    ),
    Choice("actor_rollout_ref.actor.kl_loss_type", _KL, used_if="actor_rollout_ref.actor.use_kl_loss"),
    Choice("algorithm.kl_penalty", _KL, used_if="algorithm.use_kl_in_reward"),
    Choice(
        "algorithm.kl_ctrl.type",
        _all("fixed adaptive", _RIGHT, "reads the mean KL of a batch"),
        used_if="algorithm.use_kl_in_reward",
    ),
    Choice(
        "algorithm.rollout_correction.rollout_is",
        {
            "token": Entry(_RIGHT, _RATIO),
            "sequence": Entry(_REMARK, f"{_RATIO}; products over a thought spread wider than those of tokens"),
        },
    ),
    Choice(
        "algorithm.rollout_correction.rollout_rs",
        {
            **_all("seq_sum_k1 seq_sum_k2 seq_sum_k3", _REMARK, "reads the log-ratio; sums grow with the thought"),
            **_all("seq_mean_k1 seq_mean_k2 seq_mean_k3 seq_max_k2 seq_max_k3", _RIGHT, "reads the log-ratio"),
            **_all(
                "token_k1 token_k2 token_k3",
                _REMARK,
                "reads the log-ratio; a rejected position has mask 0, and with it a reward there is lost to gae and "
                "reinforce_plus_plus, so that the two are refused together",
            ),
        },
        registered=verl_registries.rejections,
    ),
    Choice(
        "algorithm.rollout_correction.loss_type",
        {
            "ppo_clip": Entry(_RIGHT, _RATIO),
            "reinforce": Entry(_RIGHT, "reads the gradient of the log-density, weighted with the ratio"),
        },
        used_if="algorithm.rollout_correction.bypass_mode",
    ),
    Choice(
        "reward.reward_manager.name",
        {
            **_all("naive rate_limited remote", _RIGHT, "grades the text of the shown tokens"),
            "dapo": Entry(_REMARK, "grades the shown tokens; its overlong penalty counts forced tokens too"),
            "gdpo": Entry(_RIGHT, "grades the text of the shown tokens; the estimator gdpo is refused"),
        },
        registered=verl_registries.reward_managers,
    ),
    Choice(
        "algorithm.filter_groups.enable",
        {
            "False": Entry(_RIGHT, "every prompt is trained on"),
            "True": Entry(_RIGHT, "chooses prompts by reward"),
        },
    ),
    Choice(
        "trainer.v1.sampler.max_off_policy_strategy",
        _all("drop wait", _REMARK, "read by verl's asynchronous trainers only; chooses prompts by their age"),
    ),
    Choice(
        "actor_rollout_ref.rollout.full_determinism",
        {
            "False": Entry(_RIGHT, "every response has a request and a seed of its own"),
            "True": Entry(
                _BROKEN,
                "verl's V1 trainer sends every request under one id and one seed, so that the responses of a group "
                "are the same; softthink.rollout.seed and seed_answers repeat a run's rollouts",
            ),
        },
    ),
    Choice(
        "algorithm.use_pf_ppo",
        {
            "False": Entry(_RIGHT, "rows stay as they are"),
            "True": Entry(_BROKEN, "verl's V1 trainer gives the advantages of resampled rows to other rows"),
        },
    ),
)


def allowed(choice: Choice, *, law: bool) -> list[str]:
    """Values of a choice that can be trained with."""
    out = {_BROKEN, _REFUSED} if law else {_BROKEN}
    return [name for name, entry in choice.entries.items() if entry.verdict not in out]


def document() -> str:
    """The table as Markdown: a line for each value."""
    lines = ["| setting | value | with log-densities | why |", "|---|---|---|---|"]
    for choice in CHOICES:
        lines += [
            f"| `{choice.key}` | `{name}` | {entry.verdict} | {entry.reason} |"
            for name, entry in choice.entries.items()
        ]
    return "\n".join(lines)
