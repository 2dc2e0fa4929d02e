#!/usr/bin/env bash
# What a soft thought is worth on words of permutations: one model, five kinds of thoughts, several seeds, each trained by
# run_permutation_words_cpu.sh and evaluated through vLLM on all held-out problems.
#
#   bash recipes/soft_sft/run_table.sh
#   SEEDS=0 ARMS="soft path" bash recipes/soft_sft/run_table.sh     # a part; a later start adds to it
#   SIZE="--k 1" STATES=1 ROOT=outputs/soft_sft/one_state bash recipes/soft_sft/run_table.sh
#
# Whatever is finished is not done again. Environment:
#   ARMS    of soft, path, blind_path, paths, pause;  SEEDS  of problems, start and training
#   STEPS   optimiser steps of each run
#   SIZE    further options of `verl-softthink data permutation-words`;  STATES  its k;  LENGTH  its T
#   ROOT    everything that is written;  PYTHON  interpreter with verl_softthink installed
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
export VERL_PLATFORM=cpu

ARMS=${ARMS:-soft path blind_path paths pause}
SEEDS=${SEEDS:-0 1 2}
STEPS=${STEPS:-500}
LENGTH=${LENGTH:-8}
STATES=${STATES:-4}
export PYTHON=${PYTHON:-python}
ROOT=${ROOT:-outputs/soft_sft/table}
mkdir -p "$ROOT"
ROOT=$(cd "$ROOT" && pwd)
# Tokens behind the thoughts: the end of thinking, the answer, the end of the sequence.
answer=3

softthink() {
    "$PYTHON" -c 'from verl_softthink.cli import app; app()' "$@"
}

# evaluate ARM CHECKPOINT DATA DIR: continues an evaluation that was stopped.
evaluate() {
    local mode positions=$LENGTH options=()
    case $1 in
        # A thought holds as many states as have mass: the filter keeps all words.
        soft)
            for mode in deterministic gumbel; do
                options+=(--override "$mode.filter.top_k=0" --override "$mode.filter.max_topk=31")
                options+=(--override "$mode.filter.top_p=1.0")
            done
            options+=(--modes deterministic,gumbel --samples 4)
            options+=(--override gumbel.law.tau=1.0 --override gumbel.law.noise_scale=0.5)
            ;;
        # Majority votes of up to sixteen samples.
        path | blind_path) options+=(--modes hard_greedy,hard_sample --samples 16) ;;
        paths)
            positions=$((LENGTH * STATES))
            options+=(--modes hard_greedy --samples 1)
            ;;
        # No thought of its own: pauses and the marker are placed.
        pause)
            positions=0
            options+=(--modes hard_greedy --samples 1)
            options+=(--phase "lead_in='$(printf '<pause> %.0s' $(seq "$LENGTH"))</think>'")
            ;;
    esac
    if [ "$positions" -gt 0 ]; then
        options+=(--max-tokens $((positions + answer)))
    else
        options+=(--max-tokens $((LENGTH + answer)))
    fi
    # The model has positions for the longest arm and no more.
    softthink eval --checkpoint "$2" --data "$3/val.parquet" --out "$4" --budget "$positions" \
        --max-prompt-length "$("$PYTHON" -c 'import json, sys; print(json.load(open(sys.argv[1]))["prompt_tokens"])' \
            "$3/task.json")" --max-num-seqs 128 "${options[@]}"
}

results=()
for seed in $SEEDS; do
    data=$ROOT/data/seed$seed
    if [ ! -f "$data/task.json" ]; then
        # shellcheck disable=SC2086
        softthink data permutation-words "$data" --seed "$seed" --length "$LENGTH" --k "$STATES" ${SIZE:-}
    fi
    for arm in $ARMS; do
        run=$ROOT/$arm/seed$seed
        checkpoint=$run/checkpoints/global_step_$STEPS/huggingface
        mkdir -p "$run"
        if [ ! -f "$run/trained-$STEPS" ]; then
            echo "training $arm, seed $seed; log: $run/train.log"
            METHOD=$arm STEPS=$STEPS DATA=$data OUT=$run bash "$here/run_permutation_words_cpu.sh" \
                >>"$run/train.log" 2>&1 || {
                tail -n 30 "$run/train.log" >&2
                exit 1
            }
            touch "$run/trained-$STEPS"
        fi
        evaluate "$arm" "$checkpoint" "$data" "$run/eval"
        results+=("$arm=$run/eval/eval.json")
    done
done
softthink eval-table "${results[@]}" --out "$ROOT"
