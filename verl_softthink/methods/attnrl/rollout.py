"""The generations of a step: prompts, and continuations, which verl sees as prompts with one session each."""

from collections.abc import Iterator
from contextlib import contextmanager

from tensordict import TensorDict
from transfer_queue import KVBatchMeta
from verl.utils import tensordict_utils as tu

from verl_softthink.batch import clear, is_padding, read
from verl_softthink.methods.attnrl.fields import AGENT_NAME, BRANCH
from verl_softthink.methods.attnrl.samples import ROW_FIELDS, PromptSamples, Sample
from verl_softthink.methods.stage import Trainer
from verl_softthink.rollout.fields import OCCURRENCE

#: verl's partition of the queue for training rows.
PARTITION = "train"


class Rollout:
    """Sends requests to verl's agent loops and collects what they put into the queue."""

    def __init__(self, trainer: Trainer):
        self._trainer = trainer

    def next_prompts(self, count: int) -> TensorDict:
        """The next ``count`` prompts of the data."""
        return self._trainer._next_train_batch(count)

    def send(self, prompts: TensorDict) -> int:
        """Request ``rollout.n`` responses to every prompt; returns the number of prompts."""
        # After a resume, prompts still carry the step at which they were fetched, and their numbers within it.
        prompts.pop(OCCURRENCE, None)
        tu.assign_non_tensor_data(prompts, "global_steps", self._trainer.global_steps)
        return self._trainer._submit_batch_to_rollout(prompts)

    def send_branches(self, prompts: TensorDict, planned: list[PromptSamples]) -> int:
        """Request the planned continuations; returns their number, which may be 0.

        Args:
            prompts: rows of the data that the planned prompts came from.
            planned: prompts, each with its ``index`` in ``prompts``.
        """
        pairs = [(prompt, number) for prompt in planned for number in range(len(prompt.branches))]
        if not pairs:
            return 0
        rows = tu.index_select_tensor_dict(prompts, [prompt.index for prompt, _ in pairs])
        names = [name for prompt in planned for name in prompt.branch_uids]
        tu.assign_non_tensor_stack(rows, "uid", names)
        law = self._trainer.softthink.law
        tu.assign_non_tensor_stack(rows, BRANCH, [prompt.request(number, law) for prompt, number in pairs])
        tu.assign_non_tensor_stack(rows, "__rollout_n__", [1] * len(pairs))
        tu.assign_non_tensor_data(rows, "agent_name", AGENT_NAME)
        tu.assign_non_tensor_data(rows, "global_steps", self._trainer.global_steps)
        return self._trainer._submit_batch_to_rollout(rows)

    def collect(self, groups: int) -> KVBatchMeta:
        """Wait for that many prompts and continuations."""
        trainer = self._trainer
        batch, _ = trainer.replay_buffer.sample(
            global_steps=trainer.global_steps, partition_id=PARTITION, batch_size=groups
        )
        batch.extra_info["temperature"] = trainer.config.actor_rollout_ref.rollout.temperature
        return batch

    def continue_now(self, prompts: TensorDict, planned: list[PromptSamples]) -> None:
        """Roll out the planned continuations within the step, and attach them."""
        if not any(prompt.branches for prompt in planned):
            return
        with self.awake():
            self.take(planned, self.collect(self.send_branches(prompts, planned)))

    def take(self, planned: list[PromptSamples], batch: KVBatchMeta) -> None:
        """Attach a batch's continuations to their prompts, in the order of the plan, and clear them from the queue."""
        tags = dict(zip(batch.keys, batch.tags, strict=True))
        names = [[f"{uid}_0_0" for uid in prompt.branch_uids] for prompt in planned]
        keys = [key for of_prompt in names for key in of_prompt]
        if not keys:
            return
        rows = dict(zip(keys, read(keys, batch.partition_id, ROW_FIELDS), strict=True))
        for prompt, of_prompt in zip(planned, names, strict=True):
            prompt.continuations.extend(Sample(rows[key], tags[key]) for key in of_prompt)
        clear(keys, batch.partition_id)

    def without_padding(self, batch: KVBatchMeta, others: set[str]) -> KVBatchMeta:
        """The batch without the rows ``others`` and without verl's padding rows, which are cleared from the queue."""
        padding = {key for key, tag in zip(batch.keys, batch.tags, strict=True) if is_padding(tag)}
        clear(sorted(padding), batch.partition_id)
        return batch.select_keys([key for key in batch.keys if key not in padding | others])

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Wake the engines, which verl puts to sleep after a step's generation, for the duration of the block.

        Without ``free_cache_engine`` they never slept, and their caches still hold the prefixes.
        """
        manager, trainer = self._trainer.checkpoint_manager, self._trainer
        sleeps = trainer.config.actor_rollout_ref.rollout.free_cache_engine
        if sleeps:
            # The weights are those of the last update.
            manager.update_weights(trainer.global_steps - 1)
        yield
        if sleeps:
            manager.sleep_replicas()

    @contextmanager
    def asleep(self) -> Iterator[None]:
        """Put the engines to sleep for a pass over the policy between two generations of one step."""
        manager, trainer = self._trainer.checkpoint_manager, self._trainer
        manager.sleep_replicas()
        yield
        if trainer.config.actor_rollout_ref.rollout.free_cache_engine:
            manager.update_weights(trainer.global_steps - 1)
