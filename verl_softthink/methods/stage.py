"""What a method adds to a training step: a stage with hooks, in a trainer that runs the stages of all chosen methods.

verl's step is rollout, reward, old log-probs, reference, advantage, update. Scores that need the model are computed
in the pass of the old log-probs or after it; what the actor learns from is changed after the advantage. Stages run in
the order of ``registry.METHODS``, each on what the one before it left in the batch, so methods compose.
"""

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from tensordict import TensorDict
    from transfer_queue import KVBatchMeta
    from transformers import PreTrainedTokenizerBase

    from verl_softthink.config.base import Settings
    from verl_softthink.config.settings import SoftThinkSettings


class Trainer(Protocol):
    """What a stage may use of the trainer, which is one of verl's with soft traces.

    Attributes:
        config: verl's whole configuration.
        softthink: the ``softthink:`` node.
        tokenizer: of the policy; there once the trainer has been initialised.
        actor_rollout_wg: verl's group of actor workers.
        checkpoint_manager: verl's, which puts the rollout engines to sleep and sends them weights.
        replay_buffer: verl's, which waits for rollouts and returns their rows.
        global_steps: number of the current step, from 1.
        total_training_steps: number of the last step.
        timing_raw: seconds of the step's parts by name, logged by verl.
        trace_scoring: what a pass over rows with traces needs in ``batch.extra_info``; empty without a law.
    """

    config: "DictConfig"
    softthink: "SoftThinkSettings"
    tokenizer: "PreTrainedTokenizerBase"
    actor_rollout_wg: Any
    checkpoint_manager: Any
    replay_buffer: Any
    global_steps: int
    total_training_steps: int
    timing_raw: dict[str, float]

    @property
    def trace_scoring(self) -> dict: ...

    def old_log_probs(self, batch: "KVBatchMeta", metrics: dict) -> "KVBatchMeta":
        """verl's old-log-prob pass alone, without the stages."""

    def _next_train_batch(self, num_prompts: int) -> "TensorDict":
        """verl's: the next prompts of the data."""

    def _submit_batch_to_rollout(self, batch: "TensorDict") -> int:
        """verl's: send prompts to the agent loops; returns their number."""

    def _balance_batch(self, batch: "KVBatchMeta", metrics: dict) -> "KVBatchMeta":
        """verl's: pad a batch to the required multiple and spread its rows evenly over the ranks."""


class Stage:
    """One method's part of every training step; the base class changes nothing.

    Batches are verl's ``KVBatchMeta``: keys of rows in the TransferQueue, read and extended with
    ``verl_softthink.batch``. Tensors of a field are jagged, a row each.
    """

    #: Per-position fields [T] or per-response fields of the queue that the rollout dump should keep.
    dumped: ClassVar[tuple[str, ...]] = ()
    #: Whether validation uses verl's own single-turn loop, because the method's rollouts are for training alone.
    validates_plainly: ClassVar[bool] = False

    def __init__(self, trainer: Trainer, settings: "Settings"):
        """
        Args:
            trainer: tokenizer, configuration and worker groups; initialised before the first hook is called.
            settings: the method's own group of the ``softthink:`` node.
        """
        self.trainer = trainer
        self.settings = settings

    @property
    def pass_settings(self) -> dict:
        """What every training, reference and old-log-prob pass finds in ``batch.extra_info``."""
        return {}

    @property
    def reference_settings(self) -> dict:
        """What the reference pass alone finds there as well."""
        return {}

    def submit(self) -> int | None:
        """Send off what this step rolls out, in place of verl's own batch of prompts (``registry.ON_POLICY``).

        Returns:
            Prompts to wait for, in verl's sense: uids that were registered. None leaves it to verl.
        """
        return None

    def rows_multiple(self, ranks: int) -> int | None:
        """The number of rows of every batch is padded to a multiple of this; None leaves it to verl.

        Args:
            ranks: data-parallel ranks of the actor.
        """
        return None

    def mini_batch_rows(self, rows: int) -> int | None:
        """Rows of one update of the actor on a batch of ``rows``; None leaves it to verl."""
        return None

    def state_dict(self) -> dict:
        """What a checkpoint must hold for the method to continue."""
        return {}

    def load_state_dict(self, state: dict) -> None:
        """Continue from what ``state_dict`` gave."""

    def before_old_log_prob(self, batch: "KVBatchMeta", metrics: dict) -> "KVBatchMeta":
        """The queue holds prompts, responses and rewards; ``batch.extra_info`` reaches the pass that follows.

        A method that trains on other rows than were rolled out returns a batch of these; all that follows sees them.
        """
        return batch

    def after_old_log_prob(self, batch: "KVBatchMeta", metrics: dict) -> "KVBatchMeta":
        """The queue holds responses, rewards, ``old_log_probs`` and ``entropy``."""
        return batch

    def after_advantage(self, batch: "KVBatchMeta", metrics: dict) -> "KVBatchMeta":
        """The queue holds ``advantages`` and ``returns`` of ``algorithm.adv_estimator``."""
        return batch
