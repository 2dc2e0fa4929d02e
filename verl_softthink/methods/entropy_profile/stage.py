"""The entropy profile as a metric of a run, chosen by ``+softthink.entropy_profile={}``; see ``entropy_profile``."""

from transfer_queue import KVBatchMeta

from verl_softthink.batch import get, real_keys
from verl_softthink.likelihood.fields import DRAWN
from verl_softthink.methods.entropy_profile.metrics import profile_metrics
from verl_softthink.methods.stage import Stage
from verl_softthink.report.entropy_profile import ENTROPY, entropy_profile


class EntropyProfileStage(Stage):
    """Logs the profile at a few positions, and puts every position's entropy into the dumps."""

    dumped = (ENTROPY,)

    def after_old_log_prob(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        soft = self.trainer.softthink.law is not None
        thinking = DRAWN if soft else "response_mask"
        data = get(real_keys(batch), batch.partition_id, [ENTROPY, thinking])
        mean, count = entropy_profile(list(data[ENTROPY].unbind()), list(data[thinking].unbind()))
        metrics.update(profile_metrics(mean, count, self.settings.positions))
        return batch
