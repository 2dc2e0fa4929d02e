"""Put the watch where verl's trainer waits: into its replay buffer.

A trainer mode does this once, at the start of ``fit``:

    watch = guard.watch_of(self, agent_loop_manager)
    self.replay_buffer = guard.watched(self.replay_buffer, watch, poll_interval_s=0.1)

and may call ``watch.require_alive()`` before it sends weights, so that a dead engine is named as such and not as a
silent receiver.
"""

from collections import Counter

from ray.actor import ActorHandle
from transfer_queue import KVBatchMeta
from verl.experimental.agent_loop import AgentLoopManager
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer
from verl.trainer.ppo.v1.trainer_base import PPOTrainer

from verl_softthink.liveness.watch import RolloutLost, RolloutWatch


def watch_of(trainer: PPOTrainer, agent_loop_manager: AgentLoopManager) -> RolloutWatch:
    """The watch over a trainer's vLLM engines, agent workers and reward workers."""
    servers: dict[str, ActorHandle] = {}
    workers: dict[str, ActorHandle] = {}
    for replica in trainer.llm_server_manager.get_replicas():
        # The first server of a replica fronts its engine; those of further nodes have none to ask.
        for node, server in enumerate(replica.servers):
            group = servers if node == 0 else workers
            group[f"vLLM replica {replica.replica_rank}, node {node}"] = server
    for index, worker in enumerate(agent_loop_manager.agent_loop_workers):
        workers[f"agent worker {index}"] = worker
    for index, worker in enumerate(trainer.get_reward_handles() or []):
        workers[f"reward worker {index}"] = worker
    return RolloutWatch(servers, workers)


class WatchedSampling:
    """What is put in front of verl's replay buffer, or of a sampler that a run brings.

    Attributes:
        watch: asked before every pause, and whenever a rollout ends with failed prompts.
        pause_s: seconds between two polls.
        tolerate_failed_prompts: train on without the trajectories of failed sessions, as verl does.
    """

    watch: RolloutWatch
    pause_s: float
    tolerate_failed_prompts: bool

    @property
    def poll_interval(self) -> float:
        """``pause_s``. verl reads this before each of its pauses, which makes it the place to ask the watch.

        Raises:
            RolloutLost: see :class:`RolloutWatch`.
        """
        self.watch.check()
        return self.pause_s

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> tuple[KVBatchMeta, dict]:
        """verl's ``sample``, which ends with an error when the rollout cannot be completed.

        Raises:
            RolloutLost: see :class:`RolloutWatch`; and for failed prompts, unless they are tolerated.
        """
        try:
            sampled = super().sample(global_steps=global_steps, partition_id=partition_id, batch_size=batch_size)
        except RolloutLost:
            raise
        except RuntimeError as error:
            # verl's own message does not say why there are no trajectories.
            self._require_no_failures(global_steps, partition_id, batch_size, error)
            raise
        if not self.tolerate_failed_prompts:
            self._require_no_failures(global_steps, partition_id, batch_size)
        return sampled

    def _evict_terminal_groups(
        self, global_steps: int, partition_id: str, eviction_reasons: tuple[set[str], set[str], set[str], Counter]
    ) -> tuple[set[str], int, int, dict]:
        """verl's, of an asynchronous trainer: it would replace failed prompts by others, for ever if all fail."""
        if eviction_reasons[2] and self.trainer_mode != "sync" and not self.tolerate_failed_prompts:
            self._require_no_failures(global_steps, partition_id, len(self.prompt_global_steps[partition_id]))
        return super()._evict_terminal_groups(global_steps, partition_id, eviction_reasons)

    def _require_no_failures(
        self, global_steps: int, partition_id: str, batch_size: int, cause: RuntimeError | None = None
    ) -> None:
        failed = len(self.failure_keys[partition_id])
        if failed:
            self.watch.require_alive()
            raise RolloutLost(
                f"step {global_steps}: {failed} of {batch_size} prompts ({partition_id}) have failed sessions; "
                "the logs of the agent workers say why (search for 'Error in _run_prompt')."
            ) from cause


def watched(
    buffer: ReplayBuffer,
    watch: RolloutWatch,
    poll_interval_s: float | None = None,
    tolerate_failed_prompts: bool = False,
) -> ReplayBuffer:
    """``buffer`` as an instance of its own class with :class:`WatchedSampling` in front.

    Args:
        buffer: of any trainer mode; not to be used any more.
        watch: of the processes that fill it.
        poll_interval_s: pause between two polls; the buffer's own when None.
        tolerate_failed_prompts: see :class:`WatchedSampling`.
    """
    kind = type(buffer)
    twin = object.__new__(type(f"Watched{kind.__name__}", (WatchedSampling, kind), {}))
    state = dict(vars(buffer))
    pause_s = state.pop("poll_interval")
    vars(twin).update(
        state,
        watch=watch,
        pause_s=pause_s if poll_interval_s is None else poll_interval_s,
        tolerate_failed_prompts=tolerate_failed_prompts,
    )
    return twin
