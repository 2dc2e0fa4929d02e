"""Every upstream symbol that this package calls, subclasses or replaces: the one table to read before an upgrade.

To add a row: name the module that *defines* the symbol, the symbol ("function", "Class" or "Class.method", the class
being the one whose body defines the method) and what we do with it. ``since`` and ``until`` bound the releases of the
distribution that have it, both inclusive at the precision given ("0.28" covers 0.28.*).
``tests/upstream/test_compat.py`` holds the table against the installed releases.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Symbol:
    """One upstream name and the reason why the package needs it."""

    module: str
    name: str
    why: str
    since: str | None = None
    until: str | None = None

    @property
    def package(self) -> str:
        """Top-level package: "verl", "vllm", "transformers" or "torch"."""
        return self.module.partition(".")[0]


_ENGINE = "verl.workers.engine.fsdp.transformer_impl"
_V2_RUNNER = "vllm.v1.worker.gpu.model_runner"
_V2_BATCH = "vllm.v1.worker.gpu.input_batch"
_TRANSFER = "verl.workers.rollout.vllm_rollout.bucketed_weight_transfer"

SYMBOLS: tuple[Symbol, ...] = (
    # liveness/weight_transfer.py
    Symbol(_TRANSFER, "BucketedWeightSender", "replaced: bounded waits"),
    Symbol(_TRANSFER, "BucketedWeightSender.async_send_weights", "wrapped: names the silent receiver"),
    Symbol(_TRANSFER, "BucketedWeightSender._init_socket", "wrapped: bounds and checked answers"),
    Symbol(_TRANSFER, "BucketedWeightReceiver", "replaced: bounded waits"),
    Symbol(_TRANSFER, "BucketedWeightReceiver.receive_weights", "wrapped: copies buckets and reports failures"),
    Symbol(_TRANSFER, "BucketedWeightReceiver._init_socket", "wrapped: bounds"),
    # liveness/weight_sync.py
    Symbol("verl.checkpoint_engine.base", "CheckpointEngineManager.update_weights", "replaced: bounded wait"),
    # liveness/watch.py, liveness/guard.py
    Symbol("verl.workers.rollout.vllm_rollout.vllm_async_server", "vLLMHttpServer.collective_rpc", "called: health"),
    Symbol("vllm.v1.worker.worker_base", "WorkerBase.check_health", "called: health"),
    Symbol("verl.trainer.ppo.v1.replay_buffer", "ReplayBuffer.sample", "wrapped: ends when the rollout is lost"),
    Symbol("verl.trainer.ppo.v1.replay_buffer", "ReplayBuffer._wait_for_next_poll", "wrapped: asks the watch"),
    Symbol("verl.trainer.ppo.v1.trainer_base", "PPOTrainer.get_reward_handles", "called: reward workers to watch"),
    Symbol("verl.workers.rollout.llm_server", "LLMServerManager.get_replicas", "called: servers to watch"),
    # trainer.py
    Symbol("verl.trainer.ppo.v1.trainer_base", "register_trainer", "called: trainer mode softthink_sync"),
    Symbol("verl.trainer.ppo.v1.trainer_sync", "PPOTrainerSync", "subclassed"),
    Symbol("verl.trainer.ppo.v1.trainer_base", "PPOTrainer._compute_old_log_prob", "overridden: scoring, metrics"),
    Symbol("verl.trainer.ppo.v1.trainer_base", "PPOTrainer._compute_ref_log_prob", "overridden: scoring"),
    Symbol("verl.trainer.ppo.v1.trainer_base", "PPOTrainer._update_actor", "overridden: scoring, metric names"),
    Symbol("verl.trainer.ppo.v1.trainer_base", "PPOTrainer._log_rollout_data", "overridden: dumps traces"),
    Symbol("verl.trainer.ppo.v1.trainer_base", "PPOTrainer.prepare_step", "overridden: methods send requests"),
    Symbol("verl.trainer.ppo.v1.trainer_base", "PPOTrainer._step_once", "overridden: how many prompts to wait for"),
    Symbol("verl.trainer.ppo.v1.trainer_base", "PPOTrainer._get_required_batch_multiple", "overridden: padding"),
    Symbol("verl.trainer.ppo.v1.trainer_base", "PPOTrainer._save_checkpoint", "overridden: state of methods"),
    Symbol("verl.trainer.ppo.v1.trainer_base", "PPOTrainer._load_checkpoint", "overridden: state of methods"),
    Symbol("verl.trainer.ppo.v1.trainer_base", "PPOTrainer.on_validate_begin", "overridden: discrete validation"),
    # advantage/
    Symbol("verl.trainer.ppo.core_algos", "register_adv_est", "called: variational, rejection_sampling"),
    Symbol(
        "verl.trainer.ppo.v1.utils",
        "compute_advantage_for_multi_trajectories",
        "wrapped: a response of several rows counts once",
    ),
    # loss/reinforce.py, loss/variational.py
    Symbol("verl.trainer.ppo.core_algos", "register_policy_loss", "called: variational, reinforce_sum"),
    Symbol("verl.trainer.ppo.core_algos", "agg_loss", "called: token sums of responses"),
    # variational/
    Symbol("verl.experimental.agent_loop.single_turn_agent_loop", "SingleTurnAgentLoop", "subclassed: hint prompts"),
    Symbol("verl.trainer.ppo.reward", "get_custom_reward_fn", "called: verdicts; wrapped: an exception is score 0"),
    # data/guarded_reward.py (it wraps the row above)
    Symbol("verl.utils.reward_score", "get_default_compute_score", "called: verl's own scorers, guarded"),
    Symbol("verl.utils.reward_score", "default_compute_score", "called: verdicts in the agent loop"),
    Symbol("verl.workers.engine_workers", "ActorRolloutRefWorker.compute_log_prob", "called: the second likelihood"),
    Symbol("verl.workers.utils.padding", "response_from_nested", "called: the second likelihood"),
    Symbol("verl.workers.utils.losses", "sft_loss", "wrapped: per-sample weights"),
    Symbol("verl.utils.import_utils", "load_extern_object", "called: reward functions offline"),
    # likelihood/engine.py
    Symbol(_ENGINE, "FSDPEngine._build_module", "overridden: hooks on the input embedding"),
    Symbol(_ENGINE, "FSDPEngine._build_lora_module", "overridden: no adapter on the input embedding"),
    Symbol(_ENGINE, "FSDPEngineWithLMHead.prepare_model_inputs", "overridden: feeds mixtures"),
    Symbol(_ENGINE, "FSDPEngineWithLMHead.prepare_model_outputs", "overridden: scores drawn positions"),
    Symbol("verl.utils.tensordict_utils", "get_non_tensor_data", "called: the batch's scoring settings"),
    # process_reward/engine.py, process_reward/kept_keys.py, process_reward/stage.py
    Symbol(_ENGINE, "FSDPEngineWithLMHead.forward_step", "overridden: scoring pass, influence of steps"),
    Symbol(_ENGINE, "FSDPEngine.get_data_parallel_group", "called: ranks agree on forward passes"),
    Symbol("transformers.modeling_utils", "ALL_ATTENTION_FUNCTIONS", "an entry overridden during a scoring pass"),
    Symbol("verl.trainer.ppo.v1.trainer_base", "PPOTrainer._compute_advantage", "overridden: adds process advantages"),
    # likelihood/shared_prefix.py (it overrides the same two methods of the engine)
    Symbol("verl.utils.tensordict_utils", "get_tensordict", "called: the micro-batch of distinct tokens"),
    # likelihood/step_influence.py: FSDPEngineWithLMHead.forward_step, above
    # branching/influence.py
    Symbol("transformers.modeling_utils", "AttentionInterface.get_interface", "wrapped for one forward pass"),
    # branching/stage.py, branching/rollout.py, branching/queue.py, branching/agent_loop.py
    Symbol("verl.trainer.ppo.v1.trainer_base", "PPOTrainer._balance_batch", "called: rows of leaves"),
    Symbol("verl.trainer.ppo.v1.trainer_base", "PPOTrainer._next_train_batch", "called: any number of prompts"),
    Symbol("verl.trainer.ppo.v1.trainer_base", "PPOTrainer._submit_batch_to_rollout", "called: prompts, branches"),
    Symbol("verl.checkpoint_engine.base", "CheckpointEngineManager.sleep_replicas", "called: between generations"),
    Symbol("verl.workers.rollout.llm_server", "LLMServerClient.generate", "called: continuations"),
    Symbol("verl.utils.tensordict_utils", "index_select_tensor_dict", "called: prompts of branches"),
    Symbol("verl.utils.tensordict_utils", "assign_non_tensor_stack", "called: what a branch begins with"),
    Symbol("verl.utils.tensordict_utils", "assign_non_tensor_data", "called: agent loop of branches"),
    Symbol("verl.utils.tensordict_utils", "list_of_dict_to_tensordict", "called: rows of leaves"),
    Symbol("verl.utils.profiler.performance", "marked_timer", "called: seconds of the second generation"),
    Symbol("verl.utils.profiler.performance", "simple_timer", "called: seconds of a continuation"),
    # config/check.py
    Symbol("verl.utils.config", "validate_config", "wrapped: checks the softthink node"),
    # rollout/agent_loop.py, rollout/replica_registry.py, rollout/server.py
    Symbol("verl.experimental.agent_loop.agent_loop", "register", "called: agent loop softthink_agent"),
    Symbol("verl.experimental.agent_loop.agent_loop", "AgentLoopOutput.as_dict", "overridden: adds the trace"),
    Symbol("verl.experimental.agent_loop.single_turn_agent_loop", "SingleTurnAgentLoop.run", "overridden"),
    Symbol("verl.workers.rollout.base", "_ROLLOUT_REGISTRY", "extended: weights reach our server"),
    Symbol("verl.workers.rollout.replica", "RolloutReplicaRegistry.register", "called: rollout softthink_vllm"),
    Symbol("verl.workers.rollout.vllm_rollout.vllm_async_server", "vLLMReplica", "subclassed"),
    Symbol("verl.workers.rollout.vllm_rollout.vllm_async_server", "vLLMHttpServer.generate", "overridden: traces"),
    Symbol("verl.workers.rollout.vllm_rollout.vllm_async_server", "vLLMHttpServer.run_server", "overridden"),
    Symbol(
        "verl.workers.rollout.vllm_rollout.vllm_async_server",
        "vLLMHttpServer._preprocess_engine_kwargs",
        "overridden: candidate slots",
    ),
    # rollout/vllm/: see its plugin.py
    Symbol("vllm.model_executor.layers.vocab_parallel_embedding", "VocabParallelEmbedding", "replaced by plug-in"),
    Symbol(
        "vllm.model_executor.layers.vocab_parallel_embedding",
        "VocabParallelEmbedding.weight_loader",
        "overridden: new weights have another noise scale",
    ),
    Symbol(
        "vllm.model_executor.layers.vocab_parallel_embedding",
        "UnquantizedEmbeddingMethod",
        "read: the table must hold its rows as they are fed",
    ),
    Symbol(
        "vllm.distributed.communication_op", "tensor_model_parallel_all_reduce", "called: sums of the ranks' shards"
    ),
    Symbol("vllm.tokenizers.registry", "cached_tokenizer_from_config", "called: text markers, in the worker"),
    Symbol("vllm.v1.worker.gpu_model_runner", "GPUModelRunner._update_states", "wrapped: soft requests"),
    Symbol("vllm.v1.worker.gpu_model_runner", "GPUModelRunner._preprocess", "wrapped: soft rows"),
    Symbol("vllm.v1.worker.gpu_model_runner", "GPUModelRunner._sample", "wrapped: the soft step"),
    Symbol("vllm.v1.worker.gpu_model_runner", "GPUModelRunner.sample_tokens", "wrapped: trace rows"),
    Symbol(_V2_RUNNER, "GPUModelRunner.add_requests", "wrapped: soft requests of the V2 runner"),
    Symbol(_V2_RUNNER, "GPUModelRunner.prepare_inputs", "wrapped: soft rows of the V2 runner"),
    Symbol(_V2_RUNNER, "GPUModelRunner.sample_tokens", "wrapped: trace rows of the V2 runner"),
    Symbol("vllm.v1.worker.gpu.sample.sampler", "Sampler.__call__", "wrapped: the soft step of the V2 runner"),
    Symbol("vllm.v1.worker.gpu.sample.output", "SamplerOutput.sampled_token_ids", "overridden by the V2 soft step"),
    Symbol("vllm.v1.worker.gpu.sample.output", "SamplerOutput.logprobs_tensors", "overridden by the V2 soft step"),
    Symbol("vllm.v1.worker.gpu.model_states.default", "DefaultModelState", "the one model state that is supported"),
    Symbol(_V2_BATCH, "InputBatch.req_ids", "read: the V2 runner's batch"),
    Symbol(_V2_BATCH, "InputBatch.num_reqs", "read: the V2 runner's batch"),
    Symbol(_V2_BATCH, "InputBatch.idx_mapping_np", "read: the V2 runner's batch"),
    Symbol(_V2_BATCH, "InputBatch.query_start_loc_np", "read: the V2 runner's batch"),
    Symbol(_V2_BATCH, "InputBatch.num_computed_tokens_np", "read: the V2 runner's batch"),
    Symbol("vllm.config.model", "ModelConfig.enable_return_routed_experts", "read: must be off", until="0.30"),
    Symbol("vllm.config.aux_output", "AuxOutputConfig.enable_return_routed_experts", "read: must be off", since="0.31"),
    Symbol("vllm.config.parallel", "ParallelConfig.prefill_context_parallel_size", "read: must be 1"),
    Symbol("vllm.config.parallel", "ParallelConfig.enable_batch_sharded_sampling", "read: must be off", since="0.29"),
    Symbol("vllm.config.vllm", "VllmConfig.use_v2_model_runner", "read: which runner an engine has"),
    Symbol("vllm.v1.core.sched.scheduler", "Scheduler.update_from_output", "wrapped: trace rows"),
    Symbol("vllm.v1.core.kv_cache_utils", "generate_block_hash_extra_keys", "wrapped: what was fed is in the key"),
    Symbol("vllm.v1.request", "Request.num_tokens", "read: the position that a trace row is of"),
    Symbol("vllm.v1.core.sched.output", "NewRequestData.prompt_token_ids", "read: the tokens of a soft prefix"),
    Symbol("vllm.v1.engine", "EngineCoreRequest.prompt_token_ids", "read: the tokens of a soft prefix"),
    Symbol("vllm.config.model", "ModelConfig.get_hidden_size", "called: width of a prefix's embeddings"),
    Symbol("vllm.v1.engine", "EngineCoreOutput", "its routed_experts carries trace rows"),
    Symbol("vllm.v1.engine.input_processor", "InputProcessor.process_inputs", "wrapped: resolves requests"),
    # local.py
    Symbol("vllm.v1.engine.core_client", "EngineCoreClient.shutdown", "called: an orderly end with its own time limit"),
    # cpu/platform.py
    Symbol("verl.plugin.platform.platform_base", "PlatformBase", "subclassed: the CPU platform"),
    Symbol("verl.plugin.platform.platform_manager", "PlatformRegistry.register", "called: the CPU platform"),
    # cpu/process_group.py
    Symbol("verl.utils.distributed", "initialize_global_process_group_ray", "wrapped on a CPU: plain gloo"),
    Symbol("verl.utils.distributed", "initialize_global_process_group", "replaced on a CPU: plain gloo"),
    # cpu/engine.py
    Symbol("verl.workers.engine.base", "EngineRegistry.register", "called: stock engines for device cpu"),
    Symbol(_ENGINE, "FSDPEngineWithLMHead", "registered for device cpu"),
    Symbol(_ENGINE, "FSDPEngineWithValueHead", "registered for device cpu"),
    Symbol(_ENGINE, "CPUOffloadPolicy", "replaced on a CPU: no pinned memory"),
    # cpu/fsdp1.py
    Symbol(_ENGINE, "FSDP", "replaced on a CPU: no offloading"),
    Symbol(
        "torch.distributed.fsdp._init_utils",
        "_check_module_states_for_sync_module_states",
        "replaced on a CPU: parameters may be broadcast over gloo",
    ),
    # cpu/placement.py
    Symbol("verl.utils.fsdp_utils", "load_fsdp_model_to_gpu", "replaced on a CPU: nothing to move"),
    # cpu/linear.py
    Symbol(
        "vllm.model_executor.layers.utils",
        "dispatch_cpu_unquantized_gemm",
        "wrapped on a CPU: linear weights stay loadable for weight sync",
    ),
)
