"""The anchor in a training step: what the reference and training passes are asked for, and weights of advantages."""

from transfer_queue import KVBatchMeta

from verl_softthink.batch import get, put_rows, real_keys
from verl_softthink.likelihood.fields import SOFT
from verl_softthink.methods.stage import Stage
from verl_softthink.methods.thought_anchor.fields import LOSS, WANTED


class ThoughtAnchorStage(Stage):
    """Holds thoughts near the reference model's, and weighs what they learn from the reward."""

    @property
    def reference_settings(self) -> dict:
        return {WANTED: self.settings.tokens} if self.settings.coefficient else {}

    @property
    def pass_settings(self) -> dict:
        if not self.settings.coefficient:
            return {}
        actor = self.trainer.config.actor_rollout_ref.actor
        aggregation = {key: actor[key] for key in ("loss_agg_mode", "loss_scale_factor")}
        return {LOSS: {"coefficient": self.settings.coefficient, **aggregation}}

    def after_advantage(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        weight = self.settings.advantage_weight
        if weight == 1:
            return batch
        # verl's padding rows have the fields of the row that they copy, at other lengths than their responses.
        keys = real_keys(batch)
        data = get(keys, batch.partition_id, ["advantages", SOFT])
        pairs = zip(data["advantages"].unbind(), data[SOFT].unbind(), strict=True)
        weighted = [advantages.where(~soft.bool(), weight * advantages) for advantages, soft in pairs]
        put_rows(keys, batch.partition_id, {"advantages": weighted})
        return batch
