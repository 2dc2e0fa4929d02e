"""Put the watch into the place where verl's trainer waits: its replay buffer.

A trainer mode calls this once, at the start of ``fit``:

    watch = guard.watch_of(self, agent_loop_manager)
    guard.attach(self.replay_buffer, watch, poll_interval_s=0.1)

and may call ``watch.require_alive()`` before it sends weights, so that a dead engine is named as such and not as a
silent receiver.
"""

from ray.actor import ActorHandle
from verl.experimental.agent_loop import AgentLoopManager
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer
from verl.trainer.ppo.v1.trainer_base import PPOTrainer

from verl_softthink.liveness.watch import RolloutLost, RolloutWatch


def watch_of(
    trainer: PPOTrainer, agent_loop_manager: AgentLoopManager, silence_s: float = 120.0, probe_every_s: float = 5.0
) -> RolloutWatch:
    """The watch over a trainer's vLLM engines, agent workers and reward workers; seconds as in RolloutWatch."""
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
    return RolloutWatch(servers, workers, silence_s, probe_every_s)


def attach(
    replay_buffer: ReplayBuffer,
    watch: RolloutWatch,
    poll_interval_s: float | None = None,
    tolerate_failed_prompts: bool = False,
) -> None:
    """Make ``replay_buffer.sample`` end with an error when the rollout cannot be completed.

    Args:
        replay_buffer: verl's, of any trainer mode.
        watch: asked on every poll, and whenever a rollout ends with failed prompts.
        poll_interval_s: pause between two polls; verl's 2 s when None.
        tolerate_failed_prompts: train on without the trajectories of failed sessions, as verl does.

    Raises:
        RolloutLost: from ``sample``; see :class:`RolloutWatch`, and for failed prompts unless they are tolerated.
    """
    stock_wait, stock_sample = replay_buffer._wait_for_next_poll, replay_buffer.sample

    def wait_for_next_poll(partition_id: str, last_debug_time: float) -> float:
        watch.check()
        return stock_wait(partition_id, last_debug_time)

    def sample(global_steps: int, partition_id: str, batch_size: int):
        try:
            sampled = stock_sample(global_steps=global_steps, partition_id=partition_id, batch_size=batch_size)
        except RolloutLost:
            raise
        except RuntimeError as error:
            # verl's own message does not say why there are no trajectories.
            raise_lost(global_steps, partition_id, batch_size, error)
            raise
        if not tolerate_failed_prompts:
            raise_lost(global_steps, partition_id, batch_size)
        return sampled

    def raise_lost(global_steps: int, partition_id: str, batch_size: int, cause: RuntimeError | None = None) -> None:
        failed = len(replay_buffer.failure_keys[partition_id])
        if failed:
            watch.require_alive()
            raise RolloutLost(
                f"step {global_steps}: {failed} of {batch_size} prompts ({partition_id}) have failed sessions; "
                "the logs of the agent workers say why (search for 'Error in _run_prompt')."
            ) from cause

    replay_buffer._wait_for_next_poll = wait_for_next_poll
    replay_buffer.sample = sample
    if poll_interval_s is not None:
        replay_buffer.poll_interval = poll_interval_s
