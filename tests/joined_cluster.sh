#!/usr/bin/env bash
# A run of two steps that joins a Ray cluster which was there before, on a CPU: about two minutes, and no part of the
# suite. The head is started with none of a run's variables, on a port and in a folder of its own, and is ended again.
#
#   bash tests/joined_cluster.sh [OVERRIDES ...]
#
# Environment: OUT, logs and metrics; PYTHON; PORT of the cluster, none of those that Ray gives its workers (10001 to 19999).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tests/recipes/published/pocket_cpu.sh

export PYTHON=${PYTHON:-python} HF_HUB_OFFLINE=1
OUT=${OUT:-outputs/joined_cluster} PORT=${PORT:-6479}
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
if [ ! -f "$OUT/data/val.parquet" ]; then
    "$PYTHON" -m verl_softthink.pocket.data --out "$OUT/data" --train 64 --val 8
fi
MODEL_PATH=$("$PYTHON" -c 'from verl_softthink.pocket import OVERTHINKING, checkpoint_path; print(checkpoint_path(OVERTHINKING))')
export MODEL_PATH TRAIN_FILE=$OUT/data/train.parquet TEST_FILE=$OUT/data/val.parquet
# Ray protects a cluster by a token where the machine has one; a run that names the cluster by address must say so too.
export RAY_AUTH_MODE=${RAY_AUTH_MODE:-disabled}

: >"$OUT/head.log"
env -u VERL_PLATFORM -u OMP_NUM_THREADS -u VERL_FILE_LOGGER_PATH "$PYTHON" -c 'from ray.scripts.scripts import main; main()' \
    start --head --block --port="$PORT" --num-cpus=16 --num-gpus=1 --object-store-memory=400000000 \
    --include-dashboard=false --disable-usage-stats --temp-dir="$(mktemp -d /tmp/ray-XXXXXX)" >>"$OUT/head.log" 2>&1 &
head=$!
trap 'kill "$head"; wait "$head" || true' EXIT
until grep -q "Ray runtime started" "$OUT/head.log"; do
    kill -0 "$head"
    sleep 1
done

export VERL_FILE_LOGGER_PATH=$OUT/metrics.jsonl VERL_SOFTTHINK_SYNC_TIMEOUT_S=300
rm -f "$VERL_FILE_LOGGER_PATH"
status=0
RAY_ADDRESS=127.0.0.1:$PORT bash tests/recipes/published/grpo_qwen3.sh '+softthink=[cpu,soft_grpo]' \
    reward.custom_reward_function.path=pkg://verl_softthink.pocket.reward \
    trainer.total_training_steps=2 trainer.test_freq=-1 trainer.save_freq=-1 trainer.val_before_train=False \
    trainer.resume_mode=disable "$@" >"$OUT/run.log" 2>&1 || status=$?
steps=$(grep -c '"softthink/soft_fraction"' "$VERL_FILE_LOGGER_PATH" 2>/dev/null || true)
echo "exit code $status, ${steps:-0} steps with soft metrics, $OUT/run.log"
[ "$status" -eq 0 ] && [ "${steps:-0}" -eq 2 ]
