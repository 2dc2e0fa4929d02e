#!/usr/bin/env bash
# The paper's Table 1 in miniature, on the pocket reasoner: every method trained with equal budgets and several seeds,
# every checkpoint evaluated in all six inference settings.
#
#   bash recipes/soft_tokens/run_table.sh [verl overrides ...]
#   ARMS="soft hard" SEEDS="0" bash recipes/soft_tokens/run_table.sh     # a part; a later start adds to it
#
# Whatever is finished is not done again. Environment:
#   ARMS      of none, grpo, soft_grpo, hard, soft, fuzzy; "none" is the model before training
#   SEEDS     training seeds
#   STEPS     training steps of each run, 16 prompts of 8 responses each
#   PROBLEMS  held-out problems of the evaluation;  SAMPLES  responses to each in modes that sample
#   ROOT      everything that is written;  PYTHON  interpreter with verl_softthink installed
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
export VERL_PLATFORM=cpu

ARMS=${ARMS:-none grpo soft_grpo hard soft fuzzy}
SEEDS=${SEEDS:-0 1 2}
STEPS=${STEPS:-40}
PROBLEMS=${PROBLEMS:-128}
SAMPLES=${SAMPLES:-32}
export PYTHON=${PYTHON:-python}
ROOT=${ROOT:-outputs/soft_tokens/table}
mkdir -p "$ROOT"
ROOT=$(cd "$ROOT" && pwd)

softthink() {
    "$PYTHON" -c 'from verl_softthink.cli import app; app()' "$@"
}

# evaluate CHECKPOINT DIR: continues an evaluation that was stopped, and returns at once from one that is whole.
evaluate() {
    softthink eval --checkpoint "$1" --data "$ROOT/heldout/val.parquet" --out "$2" --modes all --samples "$SAMPLES" \
        --end-of-thinking '</think>' --budget 56 --max-tokens 64 --max-prompt-length 32 --max-num-seqs 128
}

heldout=$ROOT/heldout/val.parquet
if [ ! -f "$heldout" ]; then
    "$PYTHON" -m verl_softthink.pocket.data --out "$ROOT/heldout" --train 1 --val "$PROBLEMS" --seed 1000
fi

for seed in $SEEDS; do
    for arm in $ARMS; do
        run=$ROOT/$arm/seed$seed
        if [ "$arm" = none ]; then
            # Without training there is one checkpoint, whatever the seed.
            run=$ROOT/none
            checkpoint=$("$PYTHON" -c 'from verl_softthink.pocket import checkpoint_path; print(checkpoint_path())')
        else
            checkpoint=$run/checkpoints/global_step_$STEPS/actor/huggingface
            mkdir -p "$run"
            if [ ! -f "$run/trained-$STEPS" ]; then
                echo "training $arm, seed $seed; log: $run/train.log"
                METHOD=$arm SEED=$seed OUT=$run bash "$here/run_pocket_cpu.sh" \
                    "trainer.total_training_steps=$STEPS" "$@" >>"$run/train.log" 2>&1 || {
                    tail -n 30 "$run/train.log" >&2
                    exit 1
                }
                touch "$run/trained-$STEPS"
            fi
        fi
        evaluate "$checkpoint" "$run/eval"
    done
done

results=() runs=()
for arm in none grpo soft_grpo hard soft fuzzy; do
    for file in "$ROOT/$arm/eval/eval.json" "$ROOT/$arm"/seed*/eval/eval.json; do
        if [ -f "$file" ]; then
            results+=("$arm=$file")
            if [ "$arm" != none ]; then
                runs+=("$arm=$(dirname "$(dirname "$file")")")
            fi
        fi
    done
done
softthink eval-table "${results[@]}" --out "$ROOT"
if [ ${#runs[@]} -gt 0 ]; then
    # Rewards have different scales, so the left panel shows what is learnt: to think on.
    softthink plot "${runs[@]}" --out "$ROOT/curves.png" --reward response_length/mean --title "Pocket reasoner"
fi
