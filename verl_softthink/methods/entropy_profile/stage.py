"""The entropy profile as a metric of a run, chosen by ``+softthink.entropy_profile={}``; see ``entropy_profile``."""

import transfer_queue as tq
from transfer_queue import KVBatchMeta

from verl_softthink.likelihood.fields import DRAWN
from verl_softthink.methods.stage import Stage
from verl_softthink.report.entropy_profile import ENTROPY, entropy_profile, profile_metrics


class EntropyProfileStage(Stage):
    """Logs the profile at a few positions, and puts every position's entropy into the dumps."""

    dumped = (ENTROPY,)

    def after_old_log_prob(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        soft = self.trainer.softthink.law is not None
        real = [key for key, tag in zip(batch.keys, batch.tags, strict=True) if not tag.get("is_padding", False)]
        thinking = DRAWN if soft else "response_mask"
        data = tq.kv_batch_get(keys=real, partition_id=batch.partition_id, select_fields=[ENTROPY, thinking])
        mean, count = entropy_profile(list(data[ENTROPY].unbind()), list(data[thinking].unbind()))
        metrics.update(profile_metrics(mean, count, self.settings.positions))
        return batch
