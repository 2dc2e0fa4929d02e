"""What a method adds to a training step: a stage with hooks, in a trainer that runs the stages of all chosen methods.

verl's step is rollout, reward, old log-probs, reference, advantage, update. Scores that need the model are computed
in the pass of the old log-probs or after it; what the actor learns from is changed after the advantage. Stages run in
the order of ``methods.METHODS``, each on what the one before it left in the batch, so methods compose.
"""

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from transfer_queue import KVBatchMeta

    from verl_softthink.config.base import Settings
    from verl_softthink.config.settings import SoftThinkSettings
    from verl_softthink.trainer import SoftThinkTrainer


class Stage:
    """One method's part of every training step; the base class changes nothing.

    Batches are verl's ``KVBatchMeta``: keys of rows in the TransferQueue, read with ``kv_batch_get`` and extended with
    ``kv_batch_put``. Tensors of a field are jagged, a row each.
    """

    #: Per-position fields [T] or per-response fields of the queue that the rollout dump should keep.
    dumped: ClassVar[tuple[str, ...]] = ()
    #: Whether validation uses verl's own single-turn loop, because the method's rollouts are for training alone.
    validates_plainly: ClassVar[bool] = False

    def __init__(self, trainer: "SoftThinkTrainer", settings: "Settings"):
        """
        Args:
            trainer: tokenizer, configuration and worker groups; initialised before the first hook is called.
            settings: the method's own group of the ``softthink:`` node.
        """
        self.trainer = trainer
        self.settings = settings

    @classmethod
    def check(cls, config: "DictConfig", settings: "SoftThinkSettings") -> None:
        """Refuse what the method cannot work with, on the driver, before any worker starts.

        Raises:
            ValueError: naming the key, its value and the fix.
        """

    def before_old_log_prob(self, batch: "KVBatchMeta", metrics: dict) -> "KVBatchMeta":
        """The queue holds prompts, responses and rewards; ``batch.extra_info`` reaches the pass that follows."""
        return batch

    def after_old_log_prob(self, batch: "KVBatchMeta", metrics: dict) -> "KVBatchMeta":
        """The queue holds responses, rewards, ``old_log_probs`` and ``entropy``."""
        return batch

    def after_advantage(self, batch: "KVBatchMeta", metrics: dict) -> "KVBatchMeta":
        """The queue holds ``advantages`` and ``returns`` of ``algorithm.adv_estimator``."""
        return batch
