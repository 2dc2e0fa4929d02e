#!/usr/bin/env bash
# What verl's example of GRPO with Qwen3 on FSDP sets (examples/grpo_trainer); its numbers are variables here.
set -euo pipefail

"${PYTHON:-python3}" -m verl.trainer.main_ppo \
    algorithm.adv_estimator=grpo \
    algorithm.use_kl_in_reward=False \
    "data.train_files=${TRAIN_FILE:-$HOME/data/gsm8k/train.parquet}" \
    "data.val_files=${TEST_FILE:-$HOME/data/gsm8k/test.parquet}" \
    "data.train_batch_size=${TRAIN_BATCH_SIZE:-1024}" \
    "data.max_prompt_length=${MAX_PROMPT_LENGTH:-512}" \
    "data.max_response_length=${MAX_RESPONSE_LENGTH:-1024}" \
    data.filter_overlong_prompts=True \
    data.truncation=error \
    "actor_rollout_ref.model.path=${MODEL_PATH:-Qwen/Qwen3-8B}" \
    "actor_rollout_ref.model.use_remove_padding=${REMOVE_PADDING:-True}" \
    actor_rollout_ref.model.enable_gradient_checkpointing=True \
    "actor_rollout_ref.actor.optim.lr=${LEARNING_RATE:-1e-6}" \
    "actor_rollout_ref.actor.ppo_mini_batch_size=${MINI_BATCH_SIZE:-256}" \
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=${MICRO_BATCH_SIZE:-32}" \
    actor_rollout_ref.actor.use_kl_loss=True \
    actor_rollout_ref.actor.kl_loss_coef=0.001 \
    actor_rollout_ref.actor.kl_loss_type=low_var_kl \
    actor_rollout_ref.actor.entropy_coeff=0 \
    actor_rollout_ref.actor.fsdp_config.param_offload=False \
    actor_rollout_ref.actor.fsdp_config.optimizer_offload=False \
    actor_rollout_ref.rollout.name=vllm \
    "actor_rollout_ref.rollout.tensor_model_parallel_size=${ROLLOUT_TP:-2}" \
    actor_rollout_ref.rollout.gpu_memory_utilization=0.6 \
    "actor_rollout_ref.rollout.n=${ROLLOUT_N:-5}" \
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=${MICRO_BATCH_SIZE:-32}" \
    "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=${MICRO_BATCH_SIZE:-32}" \
    "actor_rollout_ref.ref.fsdp_config.param_offload=${OFFLOAD:-True}" \
    trainer.critic_warmup=0 \
    "trainer.logger=${LOGGER:-[console,wandb]}" \
    trainer.project_name=verl_grpo_example_gsm8k \
    trainer.experiment_name=qwen3_8b_function_rm \
    "trainer.n_gpus_per_node=${NGPUS_PER_NODE:-8}" \
    trainer.nnodes=1 \
    trainer.save_freq=20 \
    trainer.test_freq=5 \
    trainer.total_epochs=15 "$@"
