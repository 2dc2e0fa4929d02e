"""Signs in a run's first step that it learns nothing, each logged once, before the first update.

verl trains on rewards that are all equal, on thoughts that never end and on texts that are never found, without a word.
What the first responses show is said once: every sentence names the value, the key and what mends it.
"""

import logging
from collections.abc import Mapping

import torch
from jaxtyping import Float
from omegaconf import DictConfig
from torch import Tensor
from transfer_queue import KVBatchMeta

from verl_softthink.batch import read, real_keys
from verl_softthink.config.settings import SoftThinkSettings
from verl_softthink.methods import registry
from verl_softthink.methods.responses import Responses
from verl_softthink.methods.stage import Trainer

logger = logging.getLogger(__name__)

UNENDED = "softthink/end_reason/none"
#: Share of thoughts without an end from which on a run is warned: a few long ones are no fault of the marker.
NEARLY_ALL = 0.9
_ORIGIN = "of the first step"


class FirstStep:
    """Looks at the first batch of a trainer that has been started or resumed; later ones are not read."""

    def __init__(self, trainer: Trainer):
        self._trainer = trainer
        self._responses: Responses | None = None
        self._reported = False

    def see(self, batch: KVBatchMeta) -> None:
        """Keep what was rolled out and rewarded, before stages train on other rows."""
        if self._responses is not None:
            return
        rows = read(real_keys(batch), batch.partition_id, ("responses", "rm_scores", "reward_model"))
        self._responses = Responses.of_ids(
            self._trainer.tokenizer,
            [row["responses"].tolist() for row in rows],
            origin=_ORIGIN,
            marker=self._trainer.softthink.phase.end_of_thinking,
            answers=[(row.get("reward_model") or {}).get("ground_truth") for row in rows],
            scores=torch.stack([row["rm_scores"].sum() for row in rows]),
        )

    def report(self, batch: KVBatchMeta, metrics: Mapping[str, float]) -> None:
        """Log every doubt about the first step, whose rows have their advantages now."""
        if self._reported:
            return
        self._reported = True
        rows = read(real_keys(batch), batch.partition_id, ("advantages",))
        advantages = torch.cat([row["advantages"] for row in rows])
        for sentence in doubts(self._responses, advantages, metrics, self._trainer.config, self._trainer.softthink):
            logger.warning("%s", sentence)


def doubts(
    responses: Responses,
    advantages: Float[Tensor, " positions"],
    metrics: Mapping[str, float],
    config: DictConfig,
    settings: SoftThinkSettings,
) -> list[str]:
    """One sentence for each sign that this step, and those like it, train nothing.

    Args:
        responses: as they were rolled out, with scores.
        advantages: of all positions of the rows that are trained on.
        metrics: of the step so far.
        config: of verl.
        settings: of the node.
    """
    found = unended_thoughts(metrics, config, settings) + no_signal(responses, advantages, metrics)
    for of_method in registry.parts("doubts", registry.chosen(settings)):
        found += of_method(responses, settings)
    # What several methods look for is said once.
    return list(dict.fromkeys(found))


def unended_thoughts(metrics: Mapping[str, float], config: DictConfig, settings: SoftThinkSettings) -> list[str]:
    """A sentence where nearly no soft thought of the step ended, by the marker or otherwise."""
    share = metrics.get(UNENDED, 0.0)
    if share < NEARLY_ALL:
        return []
    phase, length = settings.phase, metrics["softthink/thinking_length/mean"]
    return [
        f"{UNENDED}={share:.2f}: in that share of the first step's responses thinking never ended, so they have no "
        f"answer that a reward could find. The model does not write softthink.phase.end_of_thinking="
        f"{phase.end_of_thinking!r} within its responses (thoughts have {length:.0f} positions on average, "
        f"data.max_response_length={config.data.max_response_length}): name a text that this model writes there "
        "(verl-softthink doctor --deep --model MODEL -- YOUR OVERRIDES samples some), set softthink.phase.budget "
        f"(is {phase.budget}) below those lengths, which forces the marker or softthink.phase.lead_in, or raise "
        "data.max_response_length"
    ]


def no_signal(responses: Responses, advantages: Float[Tensor, " positions"], metrics: Mapping[str, float]) -> list[str]:
    """A sentence where rewards do not tell one response of the step from another, or from those to its prompt."""
    scores = responses.scores
    least, most = float(scores.min()), float(scores.max())
    if least == most:
        sign = f"the reward of all {len(scores)} responses of the first step is {least:g}: none is better than another"
    elif not bool(advantages.any()):
        sign = (
            f"the advantage of every position of the first step is 0, while the rewards of its {len(scores)} responses "
            f"lie between {least:g} and {most:g}: those to one prompt are all equal"
        )
    else:
        return []
    failures = metrics.get("softthink/grader_failures", 0.0)
    failed = f" (softthink/grader_failures={failures:g}: look for the digests in the log)" if failures else ""
    return [
        f"{sign}, so outcomes teach nothing. Look at the responses (trainer.rollout_data_dir=DIR); at the grader"
        f"{failed}, reward.custom_reward_function or verl's own by data_source, which must find the answer in the form "
        "that the prompt asks for; and at the problems, which may all be too hard or too easy for the model. More "
        "responses to a prompt (actor_rollout_ref.rollout.n) differ more often"
    ]
