"""What every trainer mode of a recipe has beside verl's: soft traces in every pass over the model.

It adds what stock verl cannot know: which law scores the traces (sent with each batch), metrics under ``softthink/``,
which agent loop validates, a start-up probe that the plugin works in every process of the run, and the stages of the
methods that the settings choose (``methods.registry``). Without a law rollouts are verl's own, of discrete tokens.
"""

import logging
import math
from contextlib import nullcontext
from pathlib import Path

import ray
import transfer_queue as tq
from omegaconf import DictConfig, OmegaConf, open_dict
from transfer_queue import KVBatchMeta
from verl.experimental.agent_loop import AgentLoopManager
from verl.trainer.ppo.v1.trainer_base import PPOTrainer

from verl_softthink.batch import real_keys
from verl_softthink.config.settings import LawSettings
from verl_softthink.dump import dump_path, write_dump
from verl_softthink.laws import DISCRETE
from verl_softthink.likelihood.fields import SETTINGS
from verl_softthink.liveness import guard
from verl_softthink.liveness.weight_sync import BoundedCheckpointEngineManager
from verl_softthink.methods import registry
from verl_softthink.methods.stage import Stage
from verl_softthink.report.metric_doc import PREFIX
from verl_softthink.rollout.fields import VERSION
from verl_softthink.rollout.replica_registry import ROLLOUT_NAME
from verl_softthink.rollout.request import EXTRA_ARGS_KEY
from verl_softthink.training import collect, modes
from verl_softthink.training.agent_column import check_loaded
from verl_softthink.training.agents import Agents
from verl_softthink.training.check import check_config
from verl_softthink.training.data_check import too_few_rows
from verl_softthink.training.dump_folder import dump_folder
from verl_softthink.training.first_step import FirstStep
from verl_softthink.training.metrics import FIELDS, RENAMED, grader_failures, soft_metrics
from verl_softthink.training.mini_batches import mini_batches_of
from verl_softthink.training.ray_slots import STARTING, check_cluster
from verl_softthink.training.rewards import move_rewards
from verl_softthink.training.stage_states import load_states, save_states
from verl_softthink.training.version_metrics import version_metrics

logger = logging.getLogger(__name__)

#: Seconds between two looks at whether the batch is complete; verl's 2 s would dominate short steps.
POLL_SECONDS = 0.1
#: verl's agent loop of discrete tokens.
PLAIN_LOOP = "single_turn_agent"
#: verl compares exp(log_prob), which for a density is not a probability and overflows; ours compares log-densities.
MEANINGLESS_FOR_DENSITIES = ("training/rollout_probs_diff", "training/rollout_actor_probs_pearson_corr")


class SoftThinkTrainer(PPOTrainer):
    """Training on soft or discrete rollouts, with the stages of the chosen methods; goes in front of a verl trainer."""

    def __init__(self, config: DictConfig):
        self.softthink = check_config(config)
        #: Held as long as this process lives: no other run writes to it.
        self.dumps = dump_folder(config, self.softthink)
        with open_dict(config):
            # The base class looks its mode's settings up, and takes anything but "sync" for asynchronous.
            config.trainer.v1.trainer_mode = modes.verl_mode(config)
            if self.softthink.law is not None:
                # Workers and servers are started by this name; a script says "vllm".
                config.actor_rollout_ref.rollout.name = ROLLOUT_NAME
        super().__init__(config)
        #: By group, in the order in which they run.
        self.stages_by_group: dict[str, Stage] = {
            method.group: registry.load(method.stage)(self, getattr(self.softthink, method.group))
            for method in registry.chosen(self.softthink)
        }
        self._first_step = FirstStep(self)
        #: Prompts that this step waits for, where a method has sent them; None: verl's own batch.
        self._groups: int | None = None

    @property
    def stages(self) -> list[Stage]:
        """The stages of the chosen methods, in the order in which they run."""
        return list(self.stages_by_group.values())

    @property
    def scoring(self) -> dict:
        """What every pass over the model needs in ``batch.extra_info``: how traces are scored, and methods' own."""
        own = {key: value for stage in self.stages for key, value in stage.pass_settings.items()}
        return self.trace_scoring | own

    @property
    def trace_scoring(self) -> dict:
        """How traces are scored; nothing without a law."""
        if self.softthink.law is None:
            return {}
        settings = {
            **self.softthink.law.scoring(),
            "temperature": self.softthink.filter.temperature,
            **self.softthink.likelihood.model_dump(),
        }
        return {SETTINGS: settings}

    def _init_dataloader(self) -> None:
        super()._init_dataloader()
        check_loaded(self.config, train_files=self.train_dataset, val_files=self.val_dataset)
        # Of files that could not be looked at before, and of prompts that are left when long ones are filtered out.
        if problems := too_few_rows(self.config, len(self.train_dataset)):
            raise ValueError("\n".join(problems))

    def _init_resource_pool_mgr(self) -> None:
        super()._init_resource_pool_mgr()
        trainer = self.config.trainer
        check_cluster(workers=trainer.n_gpus_per_node, nodes=trainer.nnodes, rest=STARTING)

    def fit(self, agent_loop_manager: AgentLoopManager) -> None:
        watch = guard.watch_of(self, agent_loop_manager)
        self.replay_buffer = guard.watched(self.replay_buffer, watch, poll_interval_s=POLL_SECONDS)
        loop = self.config.actor_rollout_ref.rollout.agent.default_agent_loop
        otherwise = PLAIN_LOOP if self._validates_otherwise else None
        super().fit(Agents(agent_loop_manager, loop, validation_loop=otherwise))

    def on_init_end(self) -> None:
        self.checkpoint_manager = BoundedCheckpointEngineManager.of(self.checkpoint_manager)
        super().on_init_end()
        if self.softthink.law is not None:
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

    @property
    def _validates_otherwise(self) -> bool:
        """Whether validation samples discrete tokens and training soft ones or those of a method's own loop."""
        discrete = self.softthink.law is not None and self.softthink.rollout.validation == "discrete"
        return discrete or any(stage.validates_plainly for stage in self.stages)

    def prepare_step(self) -> dict:
        groups = [sent for stage in self.stages if (sent := stage.submit()) is not None]
        if len(groups) > 1:
            raise RuntimeError("two methods of softthink roll out prompts of their own; their checks must refuse that")
        self._groups = groups[0] if groups else None
        return {} if groups else super().prepare_step()

    def _step_once(self, metrics: dict, timing_raw: dict, sample_batch_size: int) -> KVBatchMeta:
        groups = sample_batch_size if self._groups is None else self._groups
        return super()._step_once(metrics, timing_raw, groups)

    def _get_required_batch_multiple(self, dp_size: int) -> int:
        wanted = [rows for stage in self.stages if (rows := stage.rows_multiple(dp_size)) is not None]
        return math.lcm(*wanted) if wanted else super()._get_required_batch_multiple(dp_size)

    def old_log_probs(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        """verl's pass over the current policy alone: ``old_log_probs`` and ``entropy`` of every row."""
        return super()._compute_old_log_prob(batch, metrics)

    def _compute_old_log_prob(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        self._first_step.see(batch)
        for stage in self.stages:
            batch = stage.before_old_log_prob(batch, metrics)
        batch.extra_info.update(self.scoring)
        batch = self.old_log_probs(batch, metrics)
        if self.softthink.law is not None:
            for name in [name for name in metrics if name.startswith(MEANINGLESS_FOR_DENSITIES)]:
                del metrics[name]
        for stage in self.stages:
            batch = stage.after_old_log_prob(batch, metrics)
        if self.softthink.law is not None:
            # A stage may put the log-probs of an earlier policy in, which the rollout's are to be compared with.
            metrics.update(self._soft_metrics(batch))
        return batch

    def _compute_advantage(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        verdicts = tq.kv_batch_get(
            keys=real_keys(batch), partition_id=batch.partition_id, select_fields=["extra_fields"]
        )
        metrics.update(grader_failures(verdicts["extra_fields"]))
        move_rewards(batch)
        batch = super()._compute_advantage(batch, metrics)
        for stage in self.stages:
            batch = stage.after_advantage(batch, metrics)
        self._first_step.report(batch, metrics)
        return batch

    def _compute_ref_log_prob(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        asked = {key: value for stage in self.stages for key, value in stage.reference_settings.items()}
        batch.extra_info.update(self.scoring | asked)
        batch = super()._compute_ref_log_prob(batch, metrics)
        for key in asked:
            del batch.extra_info[key]
        return batch

    def _update_actor(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        batch.extra_info.update(self.scoring)
        sizes = [rows for stage in self.stages if (rows := stage.mini_batch_rows(len(batch))) is not None]
        with mini_batches_of(self.config, sizes[0]) if sizes else nullcontext():
            batch = super()._update_actor(batch, metrics)
        if self.softthink.law is not None:
            # Named for what they are at soft positions: k3 of the log-density, not of a token distribution; and the
            # entropy of the next-token distribution, not of the law.
            for verl_name, name in RENAMED.items():
                if verl_name in metrics:
                    metrics[name] = metrics.pop(verl_name)
        # verl puts all that a loss reports under actor/.
        for verl_name in [name for name in metrics if name.startswith(f"actor/{PREFIX}")]:
            metrics[verl_name.removeprefix("actor/")] = metrics.pop(verl_name)
        return batch

    def _save_checkpoint(self) -> None:
        # Before verl's own, which ends by naming this checkpoint as the last complete one.
        folder = Path(self.config.trainer.default_local_dir) / f"global_step_{self.global_steps}"
        save_states(folder, self.stages_by_group)
        super()._save_checkpoint()

    def _load_checkpoint(self) -> None:
        super()._load_checkpoint()
        trainer = self.config.trainer
        if self.global_steps > 0:
            resumed = trainer.resume_from_path if trainer.resume_mode == "resume_path" else None
            folder = resumed or Path(trainer.default_local_dir) / f"global_step_{self.global_steps}"
            load_states(Path(folder), self.stages_by_group)

    def _log_rollout_data(self, batch: KVBatchMeta, timing_raw: dict, rollout_data_dir: str) -> None:
        super()._log_rollout_data(batch, timing_raw, rollout_data_dir)
        law = self.softthink.law
        extra = (*(name for stage in self.stages for name in stage.dumped), *self._version_fields)
        scored = not OmegaConf.select(self.config, "algorithm.rollout_correction.bypass_mode", default=False)
        names = collect.field_names(soft=law is not None, scored=scored, extra=extra)
        keys = real_keys(batch)
        data = tq.kv_batch_get(keys=keys, partition_id=batch.partition_id, select_fields=names)
        responses = collect.responses(keys, data, extra=extra)
        drawn_with = (law or LawSettings(name=DISCRETE)).model_dump()
        write_dump(responses, drawn_with, dump_path(Path(rollout_data_dir), self.global_steps))

    def _soft_metrics(self, batch: KVBatchMeta) -> dict[str, float]:
        names = [*FIELDS, *self._version_fields]
        data = tq.kv_batch_get(keys=real_keys(batch), partition_id=batch.partition_id, select_fields=names)
        metrics = soft_metrics(data, self.softthink.law)
        return metrics | (version_metrics(data, self.global_steps) if self._version_fields else {})

    @property
    def _version_fields(self) -> list[str]:
        """What rows tell of the weights that drew them: nothing where all have the step's."""
        return [] if self.trainer_mode == "sync" or self.softthink.law is None else [VERSION]
