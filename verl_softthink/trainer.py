"""Trainer mode ``softthink_sync``: verl's synchronous trainer, with soft traces in every pass over the model.

It adds what stock verl cannot know: which law scores the traces (sent with each batch), metrics under ``softthink/``,
which agent loop validates, and a start-up probe that the plugin works in every process of the run.
"""

import logging
from pathlib import Path
from types import ModuleType

import ray
import transfer_queue as tq
from omegaconf import DictConfig, open_dict
from tensordict import NonTensorData, TensorDict
from transfer_queue import KVBatchMeta
from verl.experimental.agent_loop import AgentLoopManager
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

from verl_softthink.config.check import check_config
from verl_softthink.likelihood.fields import DRAWN, IDS, SETTINGS, SOFT, VALUES
from verl_softthink.liveness import guard
from verl_softthink.report.dump import DumpedResponse, dump_path, write_dump
from verl_softthink.report.metrics import soft_metrics
from verl_softthink.rollout.fields import END_REASON, ENTROPY, FORCED, TRAINER_MODE
from verl_softthink.rollout.request import EXTRA_ARGS_KEY
from verl_softthink.trace import SoftTrace

logger = logging.getLogger(__name__)

#: Seconds between two looks at whether the batch is complete; verl's 2 s would dominate short steps.
POLL_SECONDS = 0.1
#: verl compares exp(log_prob), which for a density is not a probability and overflows; ours compares log-densities.
MEANINGLESS_FOR_DENSITIES = ("training/rollout_probs_diff", "training/rollout_actor_probs_pearson_corr")
RENAMED = {"actor/kl_loss": "softthink/log_density_k3", "actor/entropy": "softthink/next_token_entropy"}


class SoftThinkTrainer(PPOTrainerSync):
    """GRPO-style training on soft rollouts."""

    def __init__(self, config: DictConfig):
        self.softthink = check_config(config)
        with open_dict(config):
            # Anything but "sync" is treated as asynchronous by the base class.
            config.trainer.v1.trainer_mode = "sync"
        super().__init__(config)

    @property
    def _scoring(self) -> dict:
        """What the likelihood engine needs beside the traces."""
        return {
            **self.softthink.law.scoring(),
            "temperature": self.softthink.filter.temperature,
            "detach_inputs": self.softthink.likelihood.detach_inputs,
        }

    def fit(self, agent_loop_manager: AgentLoopManager) -> None:
        watch = guard.watch_of(self, agent_loop_manager)
        guard.attach(self.replay_buffer, watch, poll_interval_s=POLL_SECONDS)
        super().fit(agent_loop_manager)

    def on_init_end(self) -> None:
        super().on_init_end()
        self._probe_rollout()

    def _probe_rollout(self) -> None:
        """Generate one soft token on every server: agent-side settings, server, engine core and worker all take part.

        Raises:
            RuntimeError: when a server answers without a trace.
        """
        prompt = [self.tokenizer.eos_token_id]
        request = self.softthink.request(seed=0).model_dump()
        request["phase"]["budget"] = 1
        sampling = {"max_tokens": 1, "temperature": 1.0, "extra_args": {EXTRA_ARGS_KEY: request}}
        servers = [replica.servers[0] for replica in self.llm_server_manager.get_replicas()]
        ray.get(
            [server.generate.remote(prompt, dict(sampling), f"softthink-probe-{i}") for i, server in enumerate(servers)]
        )

    def on_validate_begin(self) -> None:
        super().on_validate_begin()
        if self.softthink.rollout.validation == "discrete":
            self._training_agents = self.agent_loop_manager
            self.agent_loop_manager = _DiscreteAgents(self.agent_loop_manager)

    def on_validate_end(self) -> None:
        super().on_validate_end()
        if self.softthink.rollout.validation == "discrete":
            self.agent_loop_manager = self._training_agents

    def _compute_old_log_prob(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        batch.extra_info[SETTINGS] = self._scoring
        batch = super()._compute_old_log_prob(batch, metrics)
        for name in [name for name in metrics if name.startswith(MEANINGLESS_FOR_DENSITIES)]:
            del metrics[name]
        metrics.update(self._soft_metrics(batch))
        return batch

    def _compute_ref_log_prob(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        batch.extra_info[SETTINGS] = self._scoring
        return super()._compute_ref_log_prob(batch, metrics)

    def _update_actor(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        batch.extra_info[SETTINGS] = self._scoring
        batch = super()._update_actor(batch, metrics)
        # Named for what they are at soft positions: k3 of the log-density, not of a token distribution; and the
        # entropy of the next-token distribution, not of the law.
        for verl_name, name in RENAMED.items():
            if verl_name in metrics:
                metrics[name] = metrics.pop(verl_name)
        return batch

    def _log_rollout_data(self, batch: KVBatchMeta, timing_raw: dict, rollout_data_dir: str) -> None:
        super()._log_rollout_data(batch, timing_raw, rollout_data_dir)
        keys = _real_keys(batch)
        data = tq.kv_batch_get(keys=keys, partition_id=batch.partition_id, select_fields=list(_DUMPED))
        columns = {name: list(data[name]) for name in _DUMPED}
        responses = [_dumped(key, {name: columns[name][row] for name in _DUMPED}) for row, key in enumerate(keys)]
        law = self.softthink.law.model_dump()
        write_dump(responses, law, dump_path(Path(rollout_data_dir), self.global_steps))

    def _soft_metrics(self, batch: KVBatchMeta) -> dict[str, float]:
        real = [key for key, tag in zip(batch.keys, batch.tags, strict=True) if not tag.get("is_padding", False)]
        names = [
            SOFT,
            DRAWN,
            FORCED,
            IDS,
            VALUES,
            "response_mask",
            "rollout_log_probs",
            "old_log_probs",
            "extra_fields",
        ]
        data = tq.kv_batch_get(keys=real, partition_id=batch.partition_id, select_fields=names)
        return soft_metrics(data, self.softthink.law)


_DUMPED = (
    SOFT,
    DRAWN,
    FORCED,
    IDS,
    VALUES,
    ENTROPY,
    "rollout_log_probs",
    "prompts",
    "responses",
    "rm_scores",
    "reward_model",
    "extra_fields",
)


def _real_keys(batch: KVBatchMeta) -> list[str]:
    """Keys of the batch without verl's synthetic padding rows."""
    return [key for key, tag in zip(batch.keys, batch.tags, strict=True) if not tag.get("is_padding", False)]


def _dumped(key: str, row: dict) -> DumpedResponse:
    plain = {
        name: getattr(value, "data", value) if name in ("reward_model", "extra_fields") else value
        for name, value in row.items()
    }
    trace = SoftTrace(
        soft=plain[SOFT],
        drawn=plain[DRAWN],
        forced=plain[FORCED],
        ids=plain[IDS],
        values=plain[VALUES],
        log_prob=plain["rollout_log_probs"],
        entropy=plain[ENTROPY],
        end_reason=plain["extra_fields"][END_REASON],
    )
    answer = plain["reward_model"].get("ground_truth")
    return DumpedResponse(
        key=key,
        prompt_ids=plain["prompts"],
        response_ids=plain["responses"],
        trace=trace,
        reward=float(plain["rm_scores"].sum()),
        answer=None if answer is None else str(answer),
    )


class _DiscreteAgents:
    """Sends validation prompts to verl's own single-turn loop."""

    def __init__(self, manager):
        self._manager = manager

    def __getattr__(self, name: str):
        return getattr(self.__dict__["_manager"], name)

    def generate_sequences(self, prompts: TensorDict) -> None:
        prompts["agent_name"] = NonTensorData("single_turn_agent", batch_size=prompts.batch_size)
        self._manager.generate_sequences(prompts)


def register(trainer_sync: ModuleType) -> None:
    """``verl.trainer.ppo.v1.trainer_sync``: add trainer mode ``softthink_sync``."""
    trainer_sync.register_trainer(TRAINER_MODE)(SoftThinkTrainer)
