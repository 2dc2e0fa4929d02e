#!/usr/bin/env bash
# The whole parity and bench suite on one GPU, and tensor parallelism where there are two, into one JSON file.
#
#     bash tests/gpu/run.sh [--list] [--quick] OUT
#
# --list prints the commands and runs nothing; --quick takes the short benches. OUT/result.json gets hardware, versions,
# what passed and every ratio; OUT/logs has the output of every step. A failing step does not stop the others.
#
#   PYTHON=python   interpreter with verl_softthink installed (pip install -e ".[gpu,dev]")
#   MODEL=DIR       checkpoint for throughput and step time, e.g. of Qwen2.5-1.5B; without it only the pocket reasoner
#                   is measured, which says little about a GPU
#   DATA=DIR        training data of the step times, made from the hub where it is missing (recipes/soft_grpo)
#
# THIS SCRIPT HAS NOT BEEN RUN ON A GPU. On a CPU its commands are listed, and their files and options checked, by
# tests/gpu/test_gpu_script.py.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

list=0 quick=0 out=
for argument in "$@"; do
    case $argument in
        --list) list=1 ;;
        --quick) quick=1 ;;
        -*) echo "unknown option $argument" >&2; exit 2 ;;
        *) out=$argument ;;
    esac
done
if [ -z "$out" ]; then
    echo "usage: bash tests/gpu/run.sh [--list] [--quick] OUT" >&2
    exit 2
fi
PYTHON=${PYTHON:-python}
export VERL_PLATFORM=nvidia HF_HUB_OFFLINE=${HF_HUB_OFFLINE:-1} TORCHDYNAMO_DISABLE=0
if [ $list = 0 ]; then
    "$PYTHON" -c 'import sys, torch; sys.exit(None if torch.cuda.is_available() else "torch finds no GPU")'
    gpus=$("$PYTHON" -c 'import torch; print(torch.cuda.device_count())')
    mkdir -p "$out/logs"
    out=$(cd "$out" && pwd)
fi

status=0
# step NAME [VARIABLE=value ...] COMMAND...
step() {
    local name=$1
    shift
    if [ $list = 1 ]; then
        echo "$name: $*"
        return
    fi
    echo "== $name"
    if env "$@" >"$out/logs/$name.log" 2>&1; then
        echo ok >"$out/logs/$name.status"
    else
        echo failed >"$out/logs/$name.status"
        status=1
    fi
}

# Parity: both runners, eager and with CUDA graphs and torch.compile, on one rank and on two.
for ranks in 1 2; do
    for runner in v1 v2; do
        for mode in eager graphs; do
            name="parity-$runner-$mode-tp$ranks"
            if [ $list = 0 ] && [ "$ranks" -gt "$gpus" ]; then
                echo "not run: $gpus GPU" >"$out/logs/$name.status"
                continue
            fi
            # The controls reach into the runner, which must be in the test's own process.
            step "$name" SOFTTHINK_TEST_RUNNER=$runner SOFTTHINK_TEST_RANKS=$ranks \
                SOFTTHINK_TEST_GRAPHS=$([ $mode = graphs ] && echo 1 || echo 0) \
                "$PYTHON" -m pytest -q "--junitxml=$out/logs/$name.xml" tests/rollout/test_parity.py \
                $([ $ranks = 1 ] && echo tests/rollout/v2_controls.py)
        done
    done
done
step likelihood "$PYTHON" -m pytest -q "--junitxml=$out/logs/likelihood.xml" tests/likelihood

# Ratios.
if [ $quick = 1 ]; then
    batches=64 tokens=128 likelihood=--quick
else
    batches="64 256" tokens=2048 likelihood=--no-quick
fi
for batch in $batches; do
    for runner in 0 1; do
        step "rollout-$batch-runner-v$((runner + 1))" VLLM_USE_V2_MODEL_RUNNER=$runner \
            "$PYTHON" -m verl_softthink bench rollout ${MODEL:+--model "$MODEL"} --batch "$batch" --tokens $tokens --repeats 3 \
            --json "$out/rollout-$batch-runner-v$((runner + 1)).json"
    done
    # The soft step fused by torch.compile.
    step "rollout-$batch-runner-v2-compiled" VLLM_USE_V2_MODEL_RUNNER=1 \
        "$PYTHON" -m verl_softthink bench rollout ${MODEL:+--model "$MODEL"} --batch "$batch" --tokens $tokens --repeats 3 \
        --compile-step --json "$out/rollout-$batch-runner-v2-compiled.json"
done
step bench-likelihood "$PYTHON" -m verl_softthink bench likelihood $likelihood --json "$out/likelihood.json"
step bench-head "$PYTHON" -m verl_softthink bench head $likelihood --json "$out/head.json"

# Step time of SofT-GRPO over GRPO, the same settings.
if [ -n "${MODEL:-}" ]; then
    for method in soft_grpo grpo; do
        step "step-time-$method" METHOD=$method "OUT=$out/step-time-$method" GPUS=1 "MODEL=$MODEL" "PYTHON=$PYTHON" \
            bash recipes/soft_grpo/run_qwen_gpu.sh data.train_batch_size=16 actor_rollout_ref.actor.ppo_mini_batch_size=16 \
            data.max_response_length=2048 actor_rollout_ref.rollout.max_model_len=3072 \
            trainer.val_before_train=False trainer.test_freq=-1 trainer.save_freq=-1 trainer.total_training_steps=6
    done
fi
step collect "$PYTHON" tests/gpu/collect.py "$out"
exit $status
