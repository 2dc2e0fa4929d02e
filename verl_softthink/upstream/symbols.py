"""Every upstream symbol that this package touches: the one table to read before an upgrade.

To add a row: name the module that *defines* the symbol, the symbol and what we do with it. A symbol is "function",
"Class", "Class.attribute" (the class being the one whose source has the attribute) or ``dictionary["key"]``.
A class needs no row of its own where attributes of it have one. ``since`` and ``until`` bound the releases of the
distribution that have the symbol, both inclusive at the precision given ("0.28" covers 0.28.*).

``tests/upstream/test_scan.py`` holds the table against this package's sources, in both directions, and
``tests/upstream/test_compat.py`` against the installed releases.
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
        """Top-level package: "verl", "vllm" or "transformers"."""
        return self.module.partition(".")[0]


def _of(module: str, owner: str, attributes: str, why: str) -> tuple[Symbol, ...]:
    """A row for each of the attributes, separated by spaces, of the class ``owner``."""
    return tuple(Symbol(module, f"{owner}.{attribute}", why) for attribute in attributes.split())


_AGENT_LOOP = "verl.experimental.agent_loop.agent_loop"
_ALGORITHMS = "verl.trainer.ppo.core_algos"
_CORRECTION = "verl.trainer.ppo.rollout_corr_helper"
_EMBEDDING = "vllm.model_executor.layers.vocab_parallel_embedding"
_ENGINE = "verl.workers.engine.fsdp.transformer_impl"
_ENGINES = "verl.workers.engine.base"
_MANAGER = "verl.checkpoint_engine.base"
_OUTPUTS = "vllm.v1.outputs"
_REPLAY = "verl.trainer.ppo.v1.replay_buffer"
_REPLICA = "verl.workers.rollout.replica"
_SERVER = "verl.workers.rollout.vllm_rollout.vllm_async_server"
_SINGLE_TURN = "verl.experimental.agent_loop.single_turn_agent_loop"
_TENSORDICT = "verl.utils.tensordict_utils"
_TRAINER = "verl.trainer.ppo.v1.trainer_base"
_TRANSFER = "verl.workers.rollout.vllm_rollout.bucketed_weight_transfer"
_V1 = "vllm.v1.worker.gpu_model_runner"
_V1_BATCH = "vllm.v1.worker.gpu_input_batch"
_V2 = "vllm.v1.worker.gpu.model_runner"
_V2_BATCH = "vllm.v1.worker.gpu.input_batch"
_V2_SAMPLER = "vllm.v1.worker.gpu.sample.sampler"

SYMBOLS: tuple[Symbol, ...] = (
    # liveness/: with VERL_SOFTTHINK_BOUNDED_WAITS=1 alone
    Symbol(_TRANSFER, "BucketedWeightSender", "replaced: bounded waits"),
    Symbol(_TRANSFER, "BucketedWeightSender.async_send_weights", "overridden: names the silent receiver"),
    Symbol(_TRANSFER, "BucketedWeightSender.zmq_context", "set: bounded sockets, checked answers"),
    Symbol(_TRANSFER, "BucketedWeightReceiver", "replaced: bounded waits"),
    Symbol(_TRANSFER, "BucketedWeightReceiver.zmq_context", "set: bounded sockets"),
    Symbol(_TRANSFER, "BucketedWeightReceiver.socket", "read: a failure is an answer"),
    # liveness/, cpu/
    Symbol(
        _TRANSFER,
        "BucketedWeightReceiver.receive_weights",
        "overridden: reports failures; wrapped on a CPU: copies what is in shared memory",
    ),
    # liveness/: in our trainer
    Symbol(_MANAGER, "CheckpointEngineManager.update_weights", "overridden: bounded wait; called by AttnRL"),
    *_of(_MANAGER, "CheckpointEngineManager", "actor_wg backend config replicas", "read: the manager to stand in for"),
    Symbol("verl.utils.ray_utils", "auto_await", "called: the decorator of the overridden method"),
    Symbol(_REPLAY, "ReplayBuffer.sample", "overridden: ends when the rollout is lost; called by AttnRL"),
    Symbol(_REPLAY, "ReplayBuffer.poll_interval", "overridden: its reader asks the watch before each pause"),
    Symbol(_REPLAY, "ReplayBuffer.failure_keys", "read: prompts with failed sessions"),
    Symbol(_REPLAY, "ReplayBuffer._evict_terminal_groups", "overridden: failed prompts end an asynchronous run too"),
    *_of(_REPLAY, "ReplayBuffer", "prompt_global_steps trainer_mode", "read: prompts under way"),
    Symbol(_SERVER, "vLLMHttpServer.collective_rpc", "called: health"),
    Symbol("vllm.v1.worker.worker_base", "WorkerBase.check_health", "called: health"),
    Symbol(_TRAINER, "PPOTrainer.get_reward_handles", "called: reward workers to watch"),
    Symbol(_AGENT_LOOP, "AgentLoopManager.agent_loop_workers", "read: agent workers to watch"),
    *_of(_REPLICA, "RolloutReplica", "servers replica_rank", "read: servers to watch and to probe"),
    # training/trainer.py
    Symbol(_TRAINER, "register_trainer", "called: our trainer modes"),
    Symbol("verl.trainer.ppo.v1.trainer_sync", "PPOTrainerSync", "derived: softthink_sync"),
    Symbol(
        "verl.trainer.ppo.v1.trainer_colocate_async",
        "PPOTrainerColocateAsync.get_llm_client",
        "overridden: resumes soft responses",
    ),
    Symbol("verl.workers.rollout.llm_server", "LLMServerManager.get_client", "called: the same"),
    Symbol(_TRAINER, "PPOTrainer.on_init_end", "overridden: bounded sync, probe"),
    Symbol(_TRAINER, "PPOTrainer.trainer_mode", "read: whether responses are of several policies"),
    Symbol(_TRAINER, "PPOTrainer.fit", "overridden: the watch"),
    Symbol(_TRAINER, "PPOTrainer._init_dataloader", "overridden: data that would replace the agent loop"),
    *_of(_TRAINER, "PPOTrainer", "train_dataset val_dataset", "read: their columns"),
    Symbol(_TRAINER, "PPOTrainer._init_resource_pool_mgr", "overridden: slots of the Ray cluster"),
    *(
        Symbol(module, "get_trainer_cls", "wrapped where the entry point imports it: slots of the Ray cluster")
        for module in (_TRAINER, "verl.trainer.ppo.v1")
    ),
    Symbol("verl.single_controller.ray.base", "ResourcePoolManager.max_colocate_count", "read: slots of a worker"),
    Symbol(_TRAINER, "PPOTrainer._compute_old_log_prob", "overridden: scoring, metrics"),
    Symbol(_TRAINER, "PPOTrainer._compute_ref_log_prob", "overridden: scoring"),
    Symbol(_TRAINER, "PPOTrainer._compute_advantage", "overridden: advantages of methods"),
    Symbol(_TRAINER, "PPOTrainer._update_actor", "overridden: scoring, metric names"),
    Symbol(_TRAINER, "PPOTrainer._log_rollout_data", "overridden: dumps traces"),
    Symbol(_TRAINER, "PPOTrainer.prepare_step", "overridden: methods send requests"),
    Symbol(_TRAINER, "PPOTrainer._step_once", "overridden: how many prompts to wait for"),
    Symbol(_TRAINER, "PPOTrainer._get_required_batch_multiple", "overridden: padding"),
    Symbol(_TRAINER, "PPOTrainer._save_checkpoint", "overridden: state of methods"),
    Symbol(_TRAINER, "PPOTrainer._load_checkpoint", "overridden: state of methods"),
    *_of(_TRAINER, "PPOTrainer", "checkpoint_manager replay_buffer", "set, and read by methods"),
    *_of(_TRAINER, "PPOTrainer", "config global_steps llm_server_manager tokenizer", "read"),
    Symbol("verl.workers.rollout.llm_server", "LLMServerManager.get_replicas", "called: servers to watch and to probe"),
    # training/
    Symbol("verl.utils.config", "validate_config", "wrapped: checks the softthink node; called by the doctor"),
    *_of("verl.workers.config.actor", "ActorConfig", "clip_ratio clip_ratio_low clip_ratio_high", "read: defaults"),
    Symbol("verl.workers.config.actor", "FSDPActorConfig.grad_clip", "read: its default"),
    Symbol("verl.workers.config.critic", "FSDPCriticConfig.grad_clip", "read: its default"),
    Symbol("verl.utils.tracking", "Tracking.supported_backend", "read: known names"),
    *(
        Symbol("vllm.engine.arg_utils", name, "its fields are read from the source: known settings")
        for name in ("EngineArgs", "AsyncEngineArgs")
    ),
    Symbol("vllm.model_executor.model_loader", "_LOAD_FORMAT_TO_MODEL_LOADER", "read from the source: known formats"),
    *(
        Symbol("verl.utils.import_utils", name, "read: how code of the user's is named")
        for name in ("FILE_PATH_PREFIX", "PKG_PATH_PREFIX")
    ),
    Symbol("verl.utils.import_utils", "resolve_config_path", "called: is the file there"),
    *(
        Symbol(_ALGORITHMS, f"{registry}_REGISTRY", "read: known names")
        for registry in ("ADV_ESTIMATOR", "POLICY_LOSS")
    ),
    Symbol(_CORRECTION, "SUPPORTED_ROLLOUT_RS_OPTIONS", "read: known names"),
    Symbol(_CORRECTION, "compute_rollout_rejection_mask", "read: whose the names are"),
    Symbol("verl.experimental.reward_loop.reward_manager.registry", "REWARD_MANAGER", "read: known names"),
    Symbol(_ALGORITHMS, "register_policy_loss", "called: variational, reinforce_sum"),
    Symbol(
        "verl.trainer.ppo.v1.utils",
        "compute_advantage_for_multi_trajectories",
        "wrapped: a response of several rows counts once for our estimators",
    ),
    # likelihood/
    Symbol(_ENGINE, "FSDPEngine._build_module", "overridden: hooks on the input embedding"),
    Symbol(_ENGINE, "FSDPEngine._build_lora_module", "overridden: no adapter on the input embedding"),
    Symbol(_ENGINE, "FSDPEngine._gather_and_unpad_packed", "called: densities of all Ulysses ranks"),
    Symbol("verl.workers.rollout.utils", "get_vision_placeholder_token_ids", "called: what the rollout masks"),
    *_of("verl.workers.config.model", "HFModelConfig", "processor tokenizer", "read: what the rollout masks"),
    *_of(_ENGINE, "FSDPEngine", "model_config module ulysses_device_mesh use_ulysses_sp lr_scheduler", "read"),
    Symbol(_ENGINE, "FSDPEngineWithLMHead.prepare_model_inputs", "overridden: feeds mixtures, shares prefixes"),
    Symbol(_ENGINE, "FSDPEngineWithLMHead.prepare_model_outputs", "overridden: scores drawn positions"),
    Symbol(_ENGINE, "FSDPEngine.optimizer_step", "overridden: gradient norm by group of parameters"),
    Symbol(_ENGINES, "BaseEngine.train_batch", "overridden: gradient norms in its metrics"),
    Symbol(_ENGINE, "FSDPEngine.is_mp_src_rank_with_outputs", "called: which rank has metrics"),
    Symbol(_ENGINE, "FSDPEngineWithLMHead.forward_step", "overridden: scoring pass, influence of steps"),
    Symbol(_ENGINE, 'output_args["pad_size"]', "read: padding of a Ulysses rank"),
    Symbol(_ENGINE, 'output_args["temperature"]', "read: the head in pieces, padded"),
    Symbol(_ENGINE, 'output_args["temperature_rmpad"]', "read: the head in pieces, packed"),
    Symbol(_ENGINE, 'output_args["input_ids_rmpad_rolled"]', "read: the head in pieces"),
    Symbol(_ENGINES, "EngineRegistry.register", "called: softthink_language_model; stock engines for device cpu"),
    Symbol(_TENSORDICT, "get_non_tensor_data", "called: settings of a batch"),
    Symbol(_TENSORDICT, "get_tensordict", "called: the micro-batch of distinct tokens"),
    # training/soft_sft/
    Symbol(_TENSORDICT, "get", "called: columns of prompts, settings of rows"),
    Symbol("verl.workers.engine_workers", "TrainingWorker", "__init__ wrapped: our engine in verl's SFT trainer"),
    Symbol(_ENGINE, "FSDPEngine.get_data_parallel_rank", "called: noise of each rank"),
    # methods/
    Symbol(_ALGORITHMS, "register_adv_est", "called: variational, rejection_sampling"),
    Symbol(_ALGORITHMS, "agg_loss", "called: token sums of responses, the anchor of thoughts"),
    Symbol("verl.utils.metric.utils", "Metric", "built: what the anchor of thoughts adds to a loss"),
    Symbol("verl.utils.metric.utils", "AggregationType.SUM", "read: shares of micro-batches"),
    *_of(_TRAINER, "PPOTrainer", "actor_rollout_wg timing_raw total_training_steps", "read"),
    # methods/repro/, methods/attnrl/: attention of transformers
    Symbol("transformers.modeling_utils", "ALL_ATTENTION_FUNCTIONS", "an entry overridden during a scoring pass"),
    Symbol("transformers.modeling_utils", "AttentionInterface.get_interface", "wrapped for one forward pass"),
    *_of(
        "transformers.configuration_utils",
        "PreTrainedConfig",
        "_attn_implementation get_text_config model_type",
        "read: what a model can be asked for",
    ),
    Symbol(_ENGINE, "FSDPEngine.get_data_parallel_group", "called: ranks agree on forward passes"),
    # methods/attnrl/
    Symbol(_TRAINER, "PPOTrainer._balance_batch", "called: rows of leaves"),
    Symbol(_TRAINER, "PPOTrainer._next_train_batch", "called: any number of prompts"),
    Symbol(_TRAINER, "PPOTrainer._submit_batch_to_rollout", "called: prompts, branches"),
    Symbol(_MANAGER, "CheckpointEngineManager.sleep_replicas", "called: between generations"),
    Symbol(_TENSORDICT, "index_select_tensor_dict", "called: prompts of branches"),
    Symbol(_TENSORDICT, "assign_non_tensor_stack", "called: what a branch begins with"),
    Symbol(_TENSORDICT, "assign_non_tensor_data", "called: agent loop of branches"),
    Symbol(_TENSORDICT, "list_of_dict_to_tensordict", "called: rows of leaves"),
    # methods/variational/
    Symbol("verl.trainer.ppo.reward", "get_custom_reward_fn", "called: verdicts; wrapped: an exception is score 0"),
    Symbol("verl.utils.reward_score", "get_default_compute_score", "called: verl's own scorers, guarded"),
    Symbol("verl.utils.reward_score", "default_compute_score", "called: verdicts in the agent loop"),
    Symbol("verl.workers.engine_workers", "ActorRolloutRefWorker.compute_log_prob", "called: the second likelihood"),
    Symbol("verl.single_controller.ray.base", "RayWorkerGroup", "annotation: the actor's workers"),
    Symbol("verl.workers.utils.padding", "response_from_nested", "called: the second likelihood"),
    Symbol("verl.workers.utils.losses", "sft_loss", "wrapped: per-sample weights, where a batch has them"),
    Symbol("verl.utils.import_utils", "load_extern_object", "called: reward functions offline"),
    # agent loops of rollout/ and methods/
    Symbol(_AGENT_LOOP, "register", "called: our agent loops"),
    Symbol(_AGENT_LOOP, "AgentLoopOutput.as_dict", "overridden: adds the trace"),
    *_of(_AGENT_LOOP, "AgentLoopOutput", "extra_fields prompt_ids response_ids response_mask", "read"),
    *_of(_AGENT_LOOP, "AgentLoopBase", "config continuous_token_builder rollout_config tokenizer", "read"),
    Symbol(_AGENT_LOOP, "AgentLoopBase.server_manager", "read: continuations, resampled answers"),
    Symbol("verl.workers.rollout.llm_server", "LLMServerClient.generate", "called: the same; overridden: one attempt"),
    Symbol(
        "verl.workers.rollout.llm_server", "FullyAsyncLLMServerClient.generate", "overridden: resumes soft responses"
    ),
    *_of(_REPLICA, "TokenOutput", "extra_fields token_ids", "read: what an attempt has drawn"),
    Symbol(_SINGLE_TURN, "SingleTurnAgentLoop.run", "overridden: soft requests, hints, branches"),
    *_of(_SINGLE_TURN, "SingleTurnAgentLoop", "prompt_length response_length", "read"),
    # rollout/replica_registry.py, rollout/server.py
    Symbol("verl.workers.rollout.base", "_ROLLOUT_REGISTRY", "extended: weights reach our server"),
    Symbol(_REPLICA, "RolloutReplicaRegistry.register", "called: rollout softthink_vllm"),
    Symbol(_REPLICA, "RolloutReplica.config", "read: the rollout's name"),
    Symbol(_REPLICA, "TokenOutput", "annotation: what a server answers"),
    Symbol(_SERVER, "vLLMReplica.server_class", "set: our server"),
    Symbol(_SERVER, "vLLMReplica._get_server_name_prefix", "overridden: the weight adapter finds our server"),
    *_of(_SERVER, "vLLMHttpServer", "generate run_server", "overridden: traces"),
    Symbol(_SERVER, "vLLMHttpServer._preprocess_engine_kwargs", "overridden: candidate slots"),
    Symbol(_SERVER, "vLLMHttpServer.config", "read: the recipe's settings"),
    Symbol(_SERVER, "vLLMHttpServer.engine", "set: keeps the trace rows"),
    # rollout/vllm/: the embedding
    Symbol("vllm.model_executor.custom_op", "PluggableLayer.register_oot", "called: replaces the embedding by plug-in"),
    Symbol(_EMBEDDING, "VocabParallelEmbedding.forward", "overridden: feeds mixtures"),
    Symbol(_EMBEDDING, "VocabParallelEmbedding.weight_loader", "overridden: new weights have another noise scale"),
    *_of(_EMBEDDING, "VocabParallelEmbedding", "embedding_dim org_vocab_size shard_indices tp_size", "read"),
    Symbol(_EMBEDDING, "VocabParallelEmbedding.parallel_group", "read: a group of its own is refused", since="0.31"),
    Symbol(_EMBEDDING, "UnquantizedEmbeddingMethod", "read: the table must hold its rows as they are fed"),
    *(
        Symbol(
            "vllm.model_executor.models.transformers.utils", name, "replaced: embeddings of another class", since="0.28"
        )
        for name in ("VocabParallelEmbedding", "_VocabParallelEmbeddingBase")
    ),
    Symbol(
        "vllm.model_executor.models.interfaces",
        "SupportsMultiModal.get_language_model",
        "called: whose input embedding is fed",
    ),
    Symbol("vllm.config.vllm", "get_current_vllm_config", "called: rows of a batch"),
    Symbol("vllm.distributed.communication_op", "tensor_model_parallel_all_reduce", "called: sums of ranks' shards"),
    Symbol("vllm.distributed.parallel_state", "get_tp_group", "called: what fails on one rank"),
    *_of("vllm.distributed.parallel_state", "GroupCoordinator", "cpu_group rank_in_group world_size", "read"),
    # rollout/vllm/: the V1 model runner; cpu/seeded_requests.py
    Symbol(_V1, "GPUModelRunner._update_states", "wrapped: soft requests"),
    Symbol(_V1, "GPUModelRunner._preprocess", "wrapped: soft rows"),
    Symbol(_V1, "GPUModelRunner._sample", "wrapped: the soft step"),
    Symbol(_V1, "GPUModelRunner.sample_tokens", "wrapped: trace rows; on a CPU also discarded rows' generators"),
    Symbol(_V1, "GPUModelRunner.discard_request_mask", "read: rows whose token does not count"),
    Symbol("vllm.v1.utils", "CpuGpuBuffer.np", "read: the mask's host side"),
    *_of(_V1, "GPUModelRunner", "async_output_copy_stream device input_batch query_start_loc vllm_config", "read"),
    Symbol(_V1, "GPUModelRunner.get_model", "called: its embedding"),
    *_of(_V1_BATCH, "InputBatch", "generators num_computed_tokens_cpu num_prompt_tokens num_reqs", "read"),
    *_of(_V1_BATCH, "InputBatch", "req_ids sampling_metadata", "read"),
    *_of("vllm.v1.sample.metadata", "SamplingMetadata", "logprob_token_ids max_num_logprobs", "read"),
    *_of(_OUTPUTS, "SamplerOutput", "logprobs_tensors sampled_token_ids", "set by the soft step"),
    Symbol(_OUTPUTS, "LogprobsTensors", "built by the soft step"),
    # rollout/vllm/: the V2 model runner
    Symbol(_V2, "GPUModelRunner.add_requests", "wrapped: soft requests of the V2 runner"),
    Symbol(_V2, "GPUModelRunner.prepare_inputs", "wrapped: soft rows of the V2 runner"),
    Symbol(_V2, "GPUModelRunner.sample_tokens", "wrapped: trace rows of the V2 runner"),
    *_of(_V2, "GPUModelRunner", "model_state output_copy_stream req_states sampler", "read"),
    Symbol(_V2, "GPUModelRunner.get_model", "called: its name"),
    Symbol(_V2_SAMPLER, "Sampler.__call__", "wrapped: the soft step of the V2 runner"),
    *_of("vllm.v1.worker.gpu.sample.output", "SamplerOutput", "logprobs_tensors sampled_token_ids", "set by the step"),
    *_of("vllm.v1.worker.gpu.states", "RequestState", "prefill_len prompt_len", "read"),
    *_of(_V2_BATCH, "InputBatch", "idx_mapping_np num_computed_tokens_np num_reqs query_start_loc_np req_ids", "read"),
    Symbol("vllm.v1.worker.gpu.model_states.default", "DefaultModelState", "the one model state that is supported"),
    # rollout/vllm/: scheduler, cache, frontend
    Symbol("vllm.v1.core.sched.scheduler", "Scheduler.update_from_output", "wrapped: trace rows"),
    Symbol("vllm.v1.core.sched.scheduler", "Scheduler.requests", "read: requests of the rows"),
    *_of("vllm.v1.core.sched.output", "SchedulerOutput", "finished_req_ids scheduled_new_reqs", "read"),
    *_of("vllm.v1.core.sched.output", "NewRequestData", "prompt_token_ids req_id sampling_params", "read"),
    Symbol("vllm.v1.core.kv_cache_utils", "generate_block_hash_extra_keys", "wrapped: what was fed is in the key"),
    Symbol("vllm.v1.core.block_pool", "generate_block_hash_extra_keys", "the same, where it is imported by name"),
    *_of("vllm.v1.request", "Request", "num_prompt_tokens num_tokens sampling_params", "read"),
    Symbol("vllm.v1.engine", "EngineCoreRequest.prompt_token_ids", "read: the tokens of a soft prefix"),
    Symbol("vllm.v1.engine", "EngineCoreRequest.lora_request", "read: the adapter of a soft request"),
    Symbol("vllm.v1.engine", "EngineCoreRequest.mm_features", "read: soft requests take text"),
    Symbol("vllm.multimodal.inputs", "MultiModalFeatureSpec.modality", "read: soft requests take text"),
    *_of("vllm.lora.request", "LoRARequest", "lora_name lora_path", "read"),
    Symbol("vllm.lora.utils", "get_adapter_absolute_path", "called: an adapter's tensors"),
    Symbol("vllm.v1.engine", "EngineCoreOutput.routed_experts", "set: carries trace rows"),
    *_of("vllm.v1.engine", "EngineCoreOutput", "new_token_ids request_id", "read"),
    *_of("vllm.v1.engine", "EngineCoreOutput", "finish_reason stop_reason", "set: a request that failed"),
    Symbol("vllm.v1.engine", "EngineCoreOutputs.outputs", "extended: a request that failed before its first token"),
    Symbol("vllm.v1.engine", "FinishReason.ERROR", "set: a request that failed"),
    Symbol("vllm.v1.core.sched.scheduler", "Scheduler.finish_requests", "called: a request that failed"),
    Symbol("vllm.v1.request", "RequestStatus.FINISHED_ERROR", "read: a request that failed"),
    Symbol("vllm.v1.request", "Request.client_index", "read: whose the request that failed is"),
    # rollout/vllm/memory.py
    Symbol("vllm.v1.worker.gpu_worker", "Worker.determine_available_memory", "wrapped: reserves the history"),
    Symbol("vllm.v1.worker.cpu_worker", "CPUWorker.determine_available_memory", "wrapped: reserves the history"),
    *_of("vllm.v1.worker.gpu_worker", "Worker", "device model_runner", "read: where the history is kept"),
    *_of("vllm.v1.worker.gpu_worker", "Worker", "execute_model sample_tokens", "wrapped: a rank that fails"),
    Symbol("vllm.v1.worker.worker_base", "WorkerBase.vllm_config", "read: the size of the history"),
    Symbol("vllm.config.model", "ModelConfig.dtype", "read: the size of the history"),
    Symbol(_OUTPUTS, "AsyncModelRunnerOutput.get_output", "overridden: adds the rows"),
    Symbol(_OUTPUTS, "ModelRunnerOutput.req_ids", "read: whose the rows are"),
    Symbol("vllm.v1.engine.input_processor", "InputProcessor.process_inputs", "wrapped: resolves requests"),
    *_of("vllm.v1.engine.input_processor", "InputProcessor", "model_config tokenizer vllm_config", "read"),
    Symbol("vllm.exceptions", "VLLMValidationError", "raised: its message reaches the caller"),
    Symbol("vllm.tokenizers.registry", "cached_tokenizer_from_config", "called: text markers, in the worker"),
    # rollout/vllm/: settings of the engine
    *_of("vllm.config.vllm", "VllmConfig", "additional_config model_config parallel_config scheduler_config", "read"),
    *_of("vllm.config.vllm", "VllmConfig", "speculative_config use_v2_model_runner", "read"),
    *_of("vllm.config.scheduler", "SchedulerConfig", "max_num_batched_tokens max_num_seqs policy", "read"),
    *_of("vllm.config.model", "ModelConfig", "architecture enable_prompt_embeds is_attention_free", "read"),
    *_of("vllm.config.model", "ModelConfig", "is_encoder_decoder is_hybrid max_model_len", "read"),
    Symbol("vllm.config.model", "ModelConfig.uses_mrope", "read: 3-D positions are refused"),
    *_of("vllm.config.model", "ModelConfig", "get_hidden_size get_vocab_size", "called"),
    Symbol("vllm.config.model", "ModelConfig.enable_return_routed_experts", "read: must be off", until="0.30"),
    Symbol("vllm.config.aux_output", "AuxOutputConfig.enable_return_routed_experts", "read: must be off", since="0.31"),
    *_of("vllm.config.parallel", "ParallelConfig", "pipeline_parallel_size prefill_context_parallel_size", "must be 1"),
    Symbol("vllm.config.parallel", "ParallelConfig.tensor_parallel_size", "read: ranks must agree on failures"),
    Symbol("vllm.config.parallel", "ParallelConfig.enable_batch_sharded_sampling", "read: must be off", since="0.29"),
    # standalone.py
    Symbol("vllm.v1.engine.core_client", "EngineCoreClient.shutdown", "called: an orderly end with its own time limit"),
    # doctor/: what a configuration needs
    *(Symbol("verl.trainer.ppo.utils", f"need_{role}", "called") for role in ("critic", "reference_policy")),
    # report/, rollout/: bytes of byte-level tokens
    Symbol("transformers.convert_slow_tokenizer", "bytes_to_unicode", "called"),
    # bench/: an engine without a trainer
    Symbol(_ENGINES, "EngineRegistry.new", "called"),
    Symbol("verl.trainer.config.config", "CheckpointConfig", "built"),
    Symbol("verl.workers.config.actor", "FSDPActorConfig", "built"),
    Symbol("verl.workers.config.actor", "PolicyLossConfig", "built"),
    Symbol("verl.workers.config.engine", "FSDPEngineConfig", "built"),
    Symbol("verl.workers.config.model", "HFModelConfig", "built"),
    Symbol("verl.workers.config.optimizer", "FSDPOptimizerConfig", "built"),
    Symbol("verl.workers.utils.losses", "ppo_loss", "called"),
    Symbol("verl.workers.utils.padding", "no_padding_2_padding", "called: log-probs of responses"),
    Symbol(_ALGORITHMS, "get_adv_estimator_fn", "called: advantages of a benchmark's batches"),
    Symbol(_TENSORDICT, "assign_non_tensor", "called: settings of a batch"),
    # cpu/: with VERL_PLATFORM=cpu alone
    Symbol("verl.plugin.platform.platform_base", "PlatformBase", "implemented: the CPU platform"),
    Symbol("verl.plugin.platform.platform_manager", "PlatformRegistry.register", "called: the CPU platform"),
    Symbol("verl.utils.distributed", "initialize_global_process_group_ray", "wrapped on a CPU: plain gloo"),
    Symbol("verl.utils.distributed", "initialize_global_process_group", "replaced on a CPU: plain gloo"),
    Symbol(_ENGINE, "FSDPEngineWithValueHead", "registered for device cpu"),
    Symbol(_ENGINE, "CPUOffloadPolicy", "replaced on a CPU: no pinned memory"),
    Symbol(_ENGINE, "FSDP", "replaced on a CPU: broadcast over gloo, no offloading"),
    Symbol("verl.utils.fsdp_utils", "load_fsdp_model_to_gpu", "replaced on a CPU: nothing to move"),
    Symbol(
        "vllm.model_executor.layers.utils",
        "dispatch_cpu_unquantized_gemm",
        "wrapped on a CPU: linear weights stay loadable for weight sync",
    ),
)

#: Names that any program takes from these packages, as it imports them, and whose attributes need no row either.
STABLE: frozenset[tuple[str, str]] = frozenset(
    {
        # Checkpoints and tokenizers: the front page of transformers.
        ("transformers", "AutoConfig"),
        ("transformers", "AutoModelForCausalLM"),
        ("transformers", "AutoTokenizer"),
        ("transformers", "GenerationConfig"),
        ("transformers", "LlamaConfig"),
        ("transformers", "LlamaForCausalLM"),
        ("transformers", "PreTrainedConfig"),
        ("transformers", "PreTrainedModel"),
        ("transformers", "PreTrainedTokenizerBase"),
        ("transformers", "PreTrainedTokenizerFast"),
        # Offline inference: the front page of vLLM.
        ("vllm", "LLM"),
        ("vllm", "SamplingParams"),
        ("vllm", "TokensPrompt"),
        ("vllm.platforms", "current_platform"),
        ("vllm.sampling_params", "SamplingParams"),
        # Versions, for messages and provenance.
        ("transformers", "__version__"),
        ("verl", "__version__"),
        # The device of a process, files and tokenizers by path, timers: helpers that all of verl uses.
        ("verl.utils", "hf_tokenizer"),
        ("verl.utils.debug", "marked_timer"),
        ("verl.utils.device", "get_device_name"),
        ("verl.utils.device", "get_nccl_backend"),
        ("verl.utils.device", "get_torch_device"),
        ("verl.utils.fs", "copy_to_local"),
        ("verl.utils.profiler", "simple_timer"),
    }
)
