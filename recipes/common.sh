# Sourced by the run scripts of every recipe: output directory, metrics file, verl's entry point.
#
#   METHOD=...        the arm; each recipe lists its own
#   OUT=DIR           metrics, checkpoints and rollout dumps; a second start continues from the last checkpoint
#   PYTHON=python     interpreter with verl_softthink installed

PYTHON=${PYTHON:-python}

# choose_output RECIPE NAME METHODS...: checks $METHOD and makes $OUT an existing absolute path.
choose_output() {
    local recipe=$1 name=$2 known
    shift 2
    known=" $* "
    if [[ $known != *" $METHOD "* ]]; then
        known=$*
        echo "METHOD=$METHOD is unknown; use ${known// / or }" >&2
        exit 2
    fi
    PROJECT=$recipe
    OUT=${OUT:-outputs/$recipe/$name/$METHOD}
    mkdir -p "$OUT"
    OUT=$(cd "$OUT" && pwd)
}

# train RECIPES ARGS...: RECIPES are those of +softthink=[...], comma-separated, or empty for plain verl.
train() {
    local recipes=() names=$1
    shift
    if [ -n "$names" ]; then
        recipes=("+softthink=[$names]")
    fi
    # verl's file logger truncates its file; an earlier start's metrics are kept under a name that sorts before.
    export VERL_FILE_LOGGER_PATH=$OUT/metrics.jsonl
    if [ -s "$VERL_FILE_LOGGER_PATH" ]; then
        mv "$VERL_FILE_LOGGER_PATH" "$OUT/metrics-$(date -u +%Y%m%dT%H%M%S).jsonl"
    fi
    exec "$PYTHON" -m verl.trainer.main_ppo "${recipes[@]}" \
        algorithm.adv_estimator=grpo \
        "trainer.project_name=$PROJECT" "trainer.experiment_name=$METHOD" 'trainer.logger=[console,file]' \
        "trainer.default_local_dir=$OUT/checkpoints" trainer.resume_mode=auto \
        trainer.max_actor_ckpt_to_keep=2 "trainer.rollout_data_dir=$OUT/rollouts" \
        trainer.val_before_train=True \
        "$@"
}
