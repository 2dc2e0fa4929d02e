"""Rollout watch and bounded weight sync, with real Ray actors and verl's replay buffer on a real TransferQueue."""

import os
import signal
import uuid
from types import SimpleNamespace

import pytest

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.verl

SILENCE_S = "5"
SILENCE = "VERL_SOFTTHINK_SILENCE_TIMEOUT_S"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Short bounds, and a question at every poll."""
    from verl_softthink.liveness import watch

    monkeypatch.setenv(SILENCE, SILENCE_S)
    monkeypatch.setattr(watch, "PROBE_EVERY_S", 0.0)


@pytest.fixture(scope="module")
def cluster():
    ray.init(num_cpus=8, include_dashboard=False, object_store_memory=100_000_000, logging_level="ERROR")
    yield
    ray.shutdown()


@ray.remote
class Actor:
    """Answers like a vLLM server, or does not."""

    def pid(self) -> int:
        return os.getpid()

    def collective_rpc(self, method: str) -> None:
        if method != "check_health":
            raise ValueError(method)

    def update_weights(self) -> None:
        signal.pause()


@ray.remote
class DeadEngine:
    """A server whose engine is gone."""

    def collective_rpc(self, method: str) -> None:
        raise ConnectionError("EngineCore encountered an issue.")


def watch_over(servers=(), workers=()):
    from verl_softthink.liveness.watch import RolloutWatch

    return RolloutWatch(dict(servers), dict(workers))


def started(kind):
    actor = kind.remote()
    ray.get(actor.__ray_ready__.remote())
    return actor


def struck(signal_number: int):
    actor = started(Actor)
    os.kill(ray.get(actor.pid.remote()), signal_number)
    return actor


def test_live_processes_pass_again_and_again(cluster):
    watch = watch_over({"server": started(Actor)}, {"worker": started(Actor)})
    for _ in range(3):
        watch.require_alive()
        watch.check()


@pytest.mark.parametrize(
    ("servers", "workers", "message"),
    [
        (lambda: {"server 7": started(DeadEngine)}, dict, "server 7 is dead: ConnectionError: EngineCore encountered"),
        (
            dict,
            lambda: {"worker 3": struck(signal.SIGKILL)},
            "worker 3 is dead: Actor(Died|Unavailable)Error: T",
        ),
        (
            lambda: {"server 7": struck(signal.SIGSTOP)},
            dict,
            rf"server 7 has not answered for 5 s \({SILENCE}\)",
        ),
    ],
)
def test_dead_and_hung_processes_are_named(cluster, servers, workers, message):
    from verl_softthink.liveness.watch import RolloutLost

    watch = watch_over(servers(), workers())
    with pytest.raises(RolloutLost, match=message):
        watch.require_alive()
    with pytest.raises(RolloutLost, match=message):
        while True:  # the trainer's polling
            watch.check()


def test_hung_trainer_worker_ends_the_weight_sync(cluster, monkeypatch):
    from verl.checkpoint_engine import CheckpointEngineManager
    from verl.workers.config import CheckpointEngineConfig

    from verl_softthink.liveness import limits
    from verl_softthink.liveness.weight_sync import BoundedCheckpointEngineManager, WeightSyncTimeout

    monkeypatch.setenv(limits.SYNC, "1")
    hung = started(Actor)
    workers = SimpleNamespace(update_weights=lambda global_steps, mode: [hung.update_weights.remote()])
    stock = CheckpointEngineManager(CheckpointEngineConfig(backend="naive"), workers, replicas=[])
    manager = BoundedCheckpointEngineManager.of(stock)
    with pytest.raises(WeightSyncTimeout, match=rf"step 5 was not done after 1 s \({limits.SYNC}\)"):
        manager.update_weights(global_steps=5)


@pytest.fixture(scope="module")
def queue(cluster):
    import transfer_queue
    from omegaconf import OmegaConf

    transfer_queue.init(OmegaConf.create({"backend": {"SimpleStorage": {"num_data_storage_units": 1}}}))
    yield transfer_queue
    transfer_queue.close()


def sample(queue, watch, statuses: list[str], mode: str = "sync", **options):
    """Let verl's replay buffer sample a batch of prompts with these statuses, one trajectory for each finished one."""
    import torch
    from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer, ReplayBufferAsync
    from verl.utils.tensordict_utils import list_of_dict_to_tensordict

    from verl_softthink.liveness import guard

    partition = uuid.uuid4().hex
    for status in statuses:
        prompt = uuid.uuid4().hex
        tag = {"is_prompt": True, "status": status, "global_steps": 1}
        queue.kv_batch_put(keys=[prompt], partition_id=partition, tags=[tag])
        if status == "finished":
            fields = list_of_dict_to_tensordict([{"responses": torch.tensor([1, 2])}])
            queue.kv_batch_put(
                keys=[f"{prompt}_0_0"], partition_id=partition, fields=fields, tags=[{"status": "success"}]
            )
    kind = ReplayBuffer if mode == "sync" else ReplayBufferAsync
    stock = kind(mode, {}, max_off_policy_threshold=None, max_off_policy_strategy="drop", sampler_kwargs={})
    buffer = guard.watched(stock, watch, poll_interval_s=0.05, **options)
    return buffer.sample(global_steps=1, partition_id=partition, batch_size=len(statuses))


def test_complete_rollout_is_sampled_as_before(queue):
    batch, _ = sample(queue, watch_over(), ["finished", "finished"])
    assert len(batch.keys) == 2


@pytest.mark.parametrize("statuses", [["failure", "failure"], ["finished", "failure"]])
@pytest.mark.parametrize("mode", ["sync", "colocate_async"])
def test_failed_sessions_end_the_run_with_their_number(queue, mode, statuses):
    """verl's asynchronous trainer would replace them, and wait for ever where all that it sends fail."""
    from verl_softthink.liveness.watch import RolloutLost

    with pytest.raises(RolloutLost, match=f"{statuses.count('failure')} of 2 prompts .* have failed sessions"):
        sample(queue, watch_over(), statuses, mode)


def test_failed_sessions_can_be_tolerated(queue):
    batch, _ = sample(queue, watch_over(), ["finished", "failure"], tolerate_failed_prompts=True)
    assert len(batch.keys) == 1


def test_dead_engine_is_the_reason_given_for_failed_sessions(queue):
    from verl_softthink.liveness.watch import RolloutLost

    with pytest.raises(RolloutLost, match="server 0 is dead: ConnectionError"):
        sample(queue, watch_over({"server 0": started(DeadEngine)}), ["failure"])


def test_waiting_for_a_dead_worker_ends(queue):
    from verl_softthink.liveness.watch import RolloutLost

    watch = watch_over(workers={"agent worker 0": struck(signal.SIGKILL)})
    with pytest.raises(RolloutLost, match="agent worker 0 is dead"):
        sample(queue, watch, ["running"])
