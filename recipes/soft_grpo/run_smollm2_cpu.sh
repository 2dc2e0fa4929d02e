#!/usr/bin/env bash
# SmolLM2-135M-Instruct, a real language model, on word problems of one sum or difference, on two CPU cores.
#
#   bash recipes/soft_grpo/run_smollm2_cpu.sh [verl overrides ...]
#   DATASET=gsm8k bash recipes/soft_grpo/run_smollm2_cpu.sh
#
# Environment: METHOD, OUT, PYTHON (see common.sh); DATASET=word_problems|gsm8k; MODEL, DATA: directories that are made
# when they are missing.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
export VERL_PLATFORM=cpu

DATASET=${DATASET:-word_problems}
case $DATASET in
    word_problems) train=train heldout=heldout prompt_length=160 response_length=48 budget=36 ;;
    gsm8k) train=gsm8k-train heldout=gsm8k-test prompt_length=384 response_length=256 budget=224 ;;
    *)
        echo "DATASET=$DATASET is unknown; use word_problems or gsm8k" >&2
        exit 2
        ;;
esac
choose_output soft_grpo "smollm2-$DATASET" soft_grpo grpo
MODEL=${MODEL:-$PWD/outputs/models/smollm2}
DATA=${DATA:-$PWD/outputs/data/$DATASET}
"$PYTHON" -m verl_softthink.data.smollm2 --out "$MODEL"
if [ ! -f "$DATA/$heldout.parquet" ]; then
    case $DATASET in
        word_problems) "$PYTHON" -m verl_softthink.data.word_problems --out "$DATA" ;;
        gsm8k) "$PYTHON" -m verl_softthink.data.prepare gsm8k "$DATA" ;;
    esac
fi

shared=(
    "data.train_files=$DATA/$train.parquet" "data.val_files=$DATA/$heldout.parquet" data.seed=0
    data.val_max_samples=128 data.train_batch_size=8
    "data.max_prompt_length=$prompt_length" "data.max_response_length=$response_length"
    data.filter_overlong_prompts=True
    "actor_rollout_ref.model.path=$MODEL"
    actor_rollout_ref.actor.optim.lr=1e-5
    actor_rollout_ref.actor.ppo_mini_batch_size=8 actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=8
    actor_rollout_ref.actor.use_kl_loss=True actor_rollout_ref.actor.kl_loss_coef=0.001
    actor_rollout_ref.actor.kl_loss_type=low_var_kl
    actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=8
    actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=8
    actor_rollout_ref.rollout.n=8
    # 46 KB a token: 64 responses and their prompts fit without preemption.
    actor_rollout_ref.rollout.engine_kwargs.vllm.kv_cache_memory_bytes=$((1 << 30))
    actor_rollout_ref.rollout.val_kwargs.do_sample=True actor_rollout_ref.rollout.val_kwargs.temperature=1.0
    "reward.custom_reward_function.path=pkg://verl_softthink.data.math_reward"
    trainer.total_training_steps=40 trainer.total_epochs=1 trainer.test_freq=10 trainer.save_freq=10
)
soft=(
    # The token that begins the answer's line, as the prompt's examples write it, also ends thinking.
    "softthink.phase.end_of_thinking='####'"
    "softthink.phase.budget=$budget"
)
run cpu "$@"
