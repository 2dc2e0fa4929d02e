#!/usr/bin/env bash
# SmolLM2-135M-Instruct, a real language model, on word problems of one sum or difference, on two CPU cores. Its answers
# have a few short lines, so that steps are lines and branch points are close.
#
#   METHOD=attnrl bash recipes/attnrl/run_smollm2_cpu.sh [verl overrides ...]
#
# Environment: METHOD, SEED, OUT, PYTHON (see common.sh); MODEL, DATA: directories that are made when they are missing.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
export VERL_PLATFORM=cpu

choose_output attnrl "smollm2/seed$SEED" "${ARMS[@]}"
MODEL=${MODEL:-$PWD/outputs/models/smollm2}
DATA=${DATA:-$PWD/outputs/data/word_problems}
"$PYTHON" -m verl_softthink.data.smollm2 --out "$MODEL"
if [ ! -f "$DATA/heldout.parquet" ]; then
    "$PYTHON" -m verl_softthink.data.word_problems --out "$DATA"
fi

prompt_length=160 response_length=48
shared=(
    "data.train_files=$DATA/train.parquet" "data.val_files=$DATA/heldout.parquet"
    data.val_max_samples=128 data.train_batch_size=4
    data.max_prompt_length=$prompt_length data.max_response_length=$response_length
    data.filter_overlong_prompts=True
    "actor_rollout_ref.model.path=$MODEL"
    actor_rollout_ref.actor.optim.lr=1e-5
    actor_rollout_ref.actor.ppo_mini_batch_size=4 actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=8
    actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=8
    actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=8
    # 46 KB a token: the responses of a step and their prompts fit without preemption.
    actor_rollout_ref.rollout.engine_kwargs.vllm.kv_cache_memory_bytes=$((1 << 30))
    actor_rollout_ref.rollout.val_kwargs.do_sample=True actor_rollout_ref.rollout.val_kwargs.temperature=1.0
    "reward.custom_reward_function.path=pkg://verl_softthink.data.math_reward"
    trainer.total_training_steps=40 trainer.total_epochs=1 trainer.test_freq=10 trainer.save_freq=10
)
tree=(
    actor_rollout_ref.rollout.n=4
    softthink.attnrl.spacing=4
    # The token that begins the answer's line, as the prompt's examples write it.
    "softthink.phase.end_of_thinking='####'"
    # Few answers have more than one line: words are steps then.
    'softthink.attnrl.separators=["\n","."," "]'
)
adaptive=(
    softthink.attnrl.wanted_responses=40 softthink.attnrl.largest_batch=8
)
soft=(
    "softthink.phase.budget=$((response_length - 12))"
)
group=(
    actor_rollout_ref.rollout.n=12
)
run cpu "$@"
