"""Posterior thoughts in a training step: a second log-prob pass after verl's, and weights in place of the advantage."""

import torch
from tensordict import TensorDict
from torch import Tensor
from transfer_queue import KVBatchMeta

from verl_softthink.batch import get, put_rows, real_keys, values_of
from verl_softthink.methods.stage import Stage
from verl_softthink.methods.variational import other_prompt, weighting
from verl_softthink.methods.variational.fields import OTHER_LOG_PROBS, THOUGHT, WEIGHT
from verl_softthink.methods.variational.metrics import named, rollout_metrics
from verl_softthink.methods.variational.weighting import ScoredThoughts

#: verl compares the probabilities of rollout and actor, which are those of different prompts here.
MEANINGLESS = ("training/rollout_probs_diff", "training/rollout_actor_probs_pearson_corr")
_SCORES = (
    "uid",
    "responses",
    "response_mask",
    "old_log_probs",
    OTHER_LOG_PROBS,
    THOUGHT,
    "rm_scores",
    "rollout_log_probs",
)
_OBJECTS = ("extra_fields", "reward_model")


class VariationalStage(Stage):
    """Weighs posterior thoughts, or in every n-th step the model's own thoughts for the posterior."""

    dumped = (WEIGHT, OTHER_LOG_PROBS)
    validates_plainly = True

    def after_old_log_prob(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        for name in [name for name in metrics if name.startswith(MEANINGLESS)]:
            del metrics[name]
        temperature = self.trainer.config.actor_rollout_ref.rollout.temperature
        other_prompt.score(batch, self.trainer.actor_rollout_wg, temperature)
        return batch

    def after_advantage(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        # verl's padding rows have the fields of the row that they copy, at other lengths than their responses.
        keys = real_keys(batch)
        data = get(keys, batch.partition_id, [*_SCORES, *_OBJECTS])
        posterior_step = self.settings.trains_posterior(self.trainer.global_steps)
        thoughts = scored_thoughts(data, trained_with_hint=posterior_step)
        if posterior_step:
            weights = weighting.posterior_weights(thoughts, estimator=self.settings.answer)
        else:
            weights = weighting.importance_weights(
                thoughts,
                estimator=self.settings.answer,
                share=self.settings.model_share,
                length_normalised=self.settings.importance == "length_normalised",
            )
        lengths = data["response_mask"].offsets().diff().tolist()
        advantages = weighting.weighted_advantages(weights, thoughts.group)
        per_row = {"advantages": advantages, "returns": advantages, WEIGHT: weights}
        fields = {name: _repeated(values, lengths) for name, values in per_row.items()}
        put_rows(keys, batch.partition_id, fields)
        found = weighting.weight_metrics(weights, thoughts.group)
        found |= rollout_metrics(data, thoughts, self.trainer.tokenizer)
        metrics.update(named(found, posterior_step=posterior_step))
        return batch


def scored_thoughts(data: TensorDict, *, trained_with_hint: bool) -> ScoredThoughts:
    """The jagged fields of a batch, padded, with the two likelihoods assigned to model and posterior."""
    trained, other = _padded(data["old_log_probs"]), _padded(data[OTHER_LOG_PROBS])
    thought = _padded(data[THOUGHT]).bool()
    inside = torch.arange(thought.shape[1]) < data["responses"].offsets().diff()[:, None]
    names = {name: number for number, name in enumerate(dict.fromkeys(values_of(data["uid"])))}
    return ScoredThoughts(
        model=other if trained_with_hint else trained,
        posterior=trained if trained_with_hint else other,
        thought=thought,
        answer=inside & ~thought,
        rewards=torch.stack([row.sum() for row in data["rm_scores"].unbind()]),
        group=torch.tensor([names[name] for name in values_of(data["uid"])]),
    )


def _padded(column: Tensor) -> Tensor:
    return column.to_padded_tensor(0)


def _repeated(values: Tensor, lengths: list[int]) -> list[Tensor]:
    return [torch.full((length,), value) for value, length in zip(values.tolist(), lengths, strict=True)]
