"""Which expressions of the package are objects of upstream classes, where its source alone does not say so.

Keys are files below ``verl_softthink``, with ":function" where an expression means something in that function only.
"""

_ENGINE = "verl.workers.engine.fsdp.transformer_impl:FSDPEngineWithLMHead"
_TRAINER = "verl.trainer.ppo.v1.trainer_base:PPOTrainer"
_AGENT_LOOP = "verl.experimental.agent_loop.single_turn_agent_loop:SingleTurnAgentLoop"
_CLIENT = "verl.workers.rollout.llm_server:LLMServerClient"
_SERVER = "verl.workers.rollout.vllm_rollout.vllm_async_server:vLLMHttpServer"
_MANAGER = "verl.workers.rollout.llm_server:LLMServerManager"
_REPLICA = "verl.workers.rollout.replica:RolloutReplica"
_HF_CONFIG = "transformers.configuration_utils:PreTrainedConfig"
_V1 = "vllm.v1.worker.gpu_model_runner:GPUModelRunner"
_V1_BATCH = "vllm.v1.worker.gpu_input_batch:InputBatch"
_V2 = "vllm.v1.worker.gpu.model_runner:GPUModelRunner"
_V2_BATCH = "vllm.v1.worker.gpu.input_batch:InputBatch"
_CONFIG = "vllm.config.vllm:VllmConfig"
_MODEL = "vllm.config.model:ModelConfig"
_PARALLEL = "vllm.config.parallel:ParallelConfig"
_SCHEDULING = "vllm.config.scheduler:SchedulerConfig"
_WORKER = "vllm.v1.worker.gpu_worker:Worker"
_SAMPLING = "vllm.v1.sample.metadata:SamplingMetadata"
_STAGE = {"self.trainer": _TRAINER, "self._trainer": _TRAINER, "trainer": _TRAINER}

RECEIVERS: dict[str, dict[str, str]] = {
    "cpu/seeded_requests.py": {"self": _V1, "runner_class": _V1, "self.input_batch": _V1_BATCH},
    "liveness/guard.py": {
        "class WatchedSampling": "verl.trainer.ppo.v1.replay_buffer:ReplayBuffer",
        "trainer.llm_server_manager": _MANAGER,
        "replica": _REPLICA,
    },
    "liveness/watch.py": {"server": _SERVER},
    "likelihood/engine.py": {"class SoftTraceLikelihood": _ENGINE},
    "likelihood/gradient_norms.py": {"class GradientNorms": _ENGINE},
    "rollout/vllm/adapters.py": {"adapter": "vllm.lora.request:LoRARequest"},
    "likelihood/unsampled.py": {"model_config": "verl.workers.config.model:HFModelConfig"},
    "likelihood/shared_prefix.py": {"class SharedPrefixes": _ENGINE, "config": _HF_CONFIG},
    "methods/attnrl/agent_loop.py": {"self.server_manager": _CLIENT},
    "methods/attnrl/engine.py": {"class StepInfluence": _ENGINE},
    "methods/attnrl/rollout.py": {**_STAGE, "manager": "verl.checkpoint_engine.base:CheckpointEngineManager"},
    "methods/attnrl/rollout.py:collect": {"trainer.replay_buffer": "verl.trainer.ppo.v1.replay_buffer:ReplayBuffer"},
    "methods/attnrl/schedule.py": _STAGE,
    "methods/attnrl/scoring.py": _STAGE,
    "methods/attnrl/stage.py": _STAGE,
    "methods/repro/engine.py": {"class AnswerScoring": _ENGINE},
    "methods/repro/kv_capture.py": {"config": _HF_CONFIG, "self._config": _HF_CONFIG},
    "methods/repro/stage.py": _STAGE,
    "methods/thought_anchor/engine.py": {"class ThoughtAnchor": _ENGINE},
    "methods/thought_anchor/stage.py": _STAGE,
    "methods/variational/agent_loop.py": {"self.server_manager": _CLIENT},
    "methods/variational/other_prompt.py:score": {"workers": "verl.workers.engine_workers:ActorRolloutRefWorker"},
    "methods/variational/stage.py": _STAGE,
    "training/soft_sft/engine.py": {"class SoftTargetTraining": _ENGINE},
    "rollout/async_client.py": {"output": "verl.workers.rollout.replica:TokenOutput"},
    "rollout/vllm/embedding.py": {
        "config": _CONFIG,
        "config.scheduler_config": _SCHEDULING,
        "model": "vllm.model_executor.models.interfaces:SupportsMultiModal",
    },
    "rollout/vllm/frontend.py": {
        "self": "vllm.v1.engine.input_processor:InputProcessor",
        "input_processor_class": "vllm.v1.engine.input_processor:InputProcessor",
        "processor": "vllm.v1.engine.input_processor:InputProcessor",
        "processor.model_config": _MODEL,
        "processed": "vllm.v1.engine:EngineCoreRequest",
        "feature": "vllm.multimodal.inputs:MultiModalFeatureSpec",
    },
    "rollout/vllm/limits.py": {
        "vllm_config": _CONFIG,
        "vllm_config.scheduler_config": _SCHEDULING,
        "parallel": _PARALLEL,
        "parallel_config": _PARALLEL,
        "owner": _MODEL,
        "embedding": "vllm.model_executor.layers.vocab_parallel_embedding:VocabParallelEmbedding",
        "model": _MODEL,
    },
    "rollout/vllm/memory.py": {
        "vllm_config": _CONFIG,
        "vllm_config.scheduler_config": _SCHEDULING,
        "vllm_config.model_config": _MODEL,
        "model": _MODEL,
        "worker": _WORKER,
        "worker_class": _WORKER,
    },
    "rollout/vllm/prefix_cache.py": {"request": "vllm.v1.request:Request", "block_pool": "vllm.v1.core.block_pool"},
    "rollout/vllm/rank_failure.py": {
        "worker_class": _WORKER,
        "self._worker": _WORKER,
        "group": "vllm.distributed.parallel_state:GroupCoordinator",
    },
    "rollout/vllm/return_path.py": {
        "scheduler_class": "vllm.v1.core.sched.scheduler:Scheduler",
        "self": "vllm.v1.core.sched.scheduler:Scheduler",
    },
    "rollout/vllm/return_path.py:attach": {"arrived": "vllm.v1.outputs:ModelRunnerOutput"},
    "rollout/vllm/return_path.py:with_rows": {"output": "vllm.v1.engine:EngineCoreOutput"},
    "rollout/vllm/return_path.py:_finish": {
        "scheduler": "vllm.v1.core.sched.scheduler:Scheduler",
        "request": "vllm.v1.request:Request",
        "output": "vllm.v1.engine:EngineCoreOutput",
        "per_client": "vllm.v1.engine:EngineCoreOutputs",
    },
    "rollout/vllm/runner_v1.py": {
        "runner_class": _V1,
        "self": _V1,
        "batch": _V1_BATCH,
        "self.input_batch": _V1_BATCH,
        "input_batch": _V1_BATCH,
        "sampling_metadata": _SAMPLING,
        "self.discard_request_mask": "vllm.v1.utils:CpuGpuBuffer",
    },
    "rollout/vllm/runner_v1.py:replaces_sampling": {"input_batch.sampling_metadata": _SAMPLING},
    "rollout/vllm/runner_v2.py:install_runner": {
        "self": _V2,
        "batch": _V2_BATCH,
        "self.req_states": "vllm.v1.worker.gpu.states:RequestState",
    },
    "rollout/vllm/runner_v2.py:install_sampler": {"self": "vllm.v1.worker.gpu.sample.sampler:Sampler"},
    "rollout/vllm/soft_runner.py": {
        "config": _CONFIG,
        "config.scheduler_config": _SCHEDULING,
        "config.model_config": _MODEL,
        "self._model_config": _MODEL,
        "runner": _V1,
        "runner.vllm_config.parallel_config": _PARALLEL,
        "group": "vllm.distributed.parallel_state:GroupCoordinator",
        "scheduler_output": "vllm.v1.core.sched.output:SchedulerOutput",
        "new": "vllm.v1.core.sched.output:NewRequestData",
    },
    "rollout/vllm/soft_runner.py:_check_model_state": {"runner": _V2},
    "rollout/vllm/soft_runner.py:override": {"output": "vllm.v1.worker.gpu.sample.output:SamplerOutput"},
    "standalone.py": {"llm.llm_engine.engine_core": "vllm.v1.engine.core_client:EngineCoreClient"},
    "training/trainer_modes.py": {"self.llm_server_manager": _MANAGER},
    "training/trainer.py": {"self.llm_server_manager": _MANAGER, "replica": _REPLICA, "server": _SERVER},
}

#: Functions that are called with a module, beside those in lists of registrations.
MODULES: dict[str, dict[str, str]] = {
    "rollout/vllm/runner_v2.py": {
        "install_runner": "vllm.v1.worker.gpu.model_runner",
        "install_sampler": "vllm.v1.worker.gpu.sample.sampler",
    },
    "rollout/vllm/embedding.py": {"install_in_transformers_backend": "vllm.model_executor.models.transformers.utils"},
    "rollout/vllm/prefix_cache.py": {"install": "vllm.v1.core.kv_cache_utils"},
}

#: Dictionaries of verl's engine whose keys are names like any other.
DICTIONARIES = {"output_args": "verl.workers.engine.fsdp.transformer_impl"}

#: Where one line of ours serves two releases or two runners: the name that is seen, and the other one.
TWINS: dict[tuple[str, str], tuple[str, str]] = {
    ("vllm.config.model", "ModelConfig.enable_return_routed_experts"): (
        "vllm.config.aux_output",
        "AuxOutputConfig.enable_return_routed_experts",
    ),
    ("vllm.v1.worker.gpu_worker", "Worker.determine_available_memory"): (
        "vllm.v1.worker.cpu_worker",
        "CPUWorker.determine_available_memory",
    ),
    ("vllm.v1.outputs", "SamplerOutput.logprobs_tensors"): (
        "vllm.v1.worker.gpu.sample.output",
        "SamplerOutput.logprobs_tensors",
    ),
}

#: Names that are sent as text: file and text, and what answers to it.
CALLED_BY_NAME: dict[tuple[str, str], tuple[str, str]] = {
    ("liveness/watch.py", "check_health"): ("vllm.v1.worker.worker_base", "WorkerBase.check_health"),
    # Read from the sources of vLLM, which is not imported.
    ("training/rollout_check.py", "EngineArgs"): ("vllm.engine.arg_utils", "EngineArgs"),
    ("training/rollout_check.py", "AsyncEngineArgs"): ("vllm.engine.arg_utils", "AsyncEngineArgs"),
    ("training/rollout_check.py", "_LOAD_FORMAT_TO_MODEL_LOADER"): (
        "vllm.model_executor.model_loader",
        "_LOAD_FORMAT_TO_MODEL_LOADER",
    ),
}

#: Interfaces that a class of ours implements whole: their row stands for their methods.
INTERFACES = {("verl.plugin.platform.platform_base", "PlatformBase")}
