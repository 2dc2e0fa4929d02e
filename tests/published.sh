#!/usr/bin/env bash
# Two real steps of verl's published scripts under every recipe, on a CPU; about two minutes each, and no part of the
# suite. The checks before a run are tests/recipes/test_published.py.
#
#   bash tests/published.sh [SCRIPT:RECIPES ...]      e.g. 'grpo_lora:[soft_grpo,repro]'; all without arguments
#
# Environment: OUT, logs and metrics; PYTHON.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tests/recipes/published/pocket_cpu.sh
source tests/recipes/published/needed.sh

export PYTHON=${PYTHON:-python} HF_HUB_OFFLINE=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
OUT=${OUT:-outputs/published}
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
if [ ! -f "$OUT/data/val.parquet" ]; then
    "$PYTHON" -m verl_softthink.pocket.data --out "$OUT/data" --train 64 --val 8
fi
MODEL_PATH=$("$PYTHON" -c 'from verl_softthink.pocket import OVERTHINKING, checkpoint_path; print(checkpoint_path(OVERTHINKING))')
export MODEL_PATH TRAIN_FILE=$OUT/data/train.parquet TEST_FILE=$OUT/data/val.parquet

# What plain GRPO on this data needs as well: its grader, and an end after two steps.
shared=(
    reward.custom_reward_function.path=pkg://verl_softthink.pocket.reward
    trainer.total_training_steps=2 trainer.test_freq=-1 trainer.save_freq=-1 trainer.val_before_train=False
    trainer.resume_mode=disable
)
if [ $# -eq 0 ]; then
    for script in grpo_qwen3 dapo grpo_lora; do
        for recipes in soft_grpo repro attnrl '[soft_grpo,repro]'; do
            set -- "$@" "$script:$recipes"
        done
    done
fi
# steps_of NAMES FILE: steps that have a metric of each of the methods, which plain GRPO does not.
steps_of() {
    local lines name
    lines=$(cat "$2" 2>/dev/null || true)
    for name in ${1//,/ }; do
        case $name in
            soft_grpo) lines=$(grep '"softthink/soft_fraction"' <<<"$lines" || true) ;;
            *) lines=$(grep "\"softthink/$name/" <<<"$lines" || true) ;;
        esac
    done
    grep -c '"step"' <<<"$lines" || true
}

failed=0
for run in "$@"; do
    script=${run%%:*} recipes=${run#*:}
    names=${recipes//[\[\]]/}
    mapfile -t method < <(needed "$recipes")
    export VERL_FILE_LOGGER_PATH=$OUT/$script-$names.jsonl
    rm -f "$VERL_FILE_LOGGER_PATH"
    status=0
    bash "tests/recipes/published/$script.sh" "+softthink=[cpu,$names]" "${method[@]}" "${shared[@]}" \
        >"$OUT/$script-$names.log" 2>&1 || status=$?
    steps=$(steps_of "$names" "$VERL_FILE_LOGGER_PATH")
    echo "$run: exit code $status, $steps steps with the metrics of $names, $OUT/$script-$names.log"
    if [ "$status" -ne 0 ] || [ "$steps" -ne 2 ]; then
        failed=1
    fi
done
exit $failed
