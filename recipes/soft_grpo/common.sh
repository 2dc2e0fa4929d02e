# Sourced by the run scripts. Picks the arm, the output directory and the metrics file, and starts verl's entry point.
#
#   METHOD=soft_grpo  the recipe (default)
#   METHOD=grpo       its twin: the same settings with verl's own rollout, engine and discrete tokens
#   OUT=DIR           metrics, checkpoints and rollout dumps; a second start continues from the last checkpoint
#   PYTHON=python     interpreter with verl_softthink installed

METHOD=${METHOD:-soft_grpo}
PYTHON=${PYTHON:-python}

# choose_output NAME: makes $OUT an existing absolute path.
choose_output() {
    case $METHOD in
        soft_grpo | grpo) ;;
        *)
            echo "METHOD=$METHOD is unknown; use soft_grpo or grpo" >&2
            exit 2
            ;;
    esac
    OUT=${OUT:-outputs/soft_grpo/$1/$METHOD}
    mkdir -p "$OUT"
    OUT=$(cd "$OUT" && pwd)
}

# train PLATFORM ARGS...: PLATFORM is cpu or gpu. The arrays `shared` (both arms) and `soft` (the recipe's arm only)
# hold the settings; ARGS override both.
train() {
    local platform=$1 recipe=() method=()
    shift
    case $platform-$METHOD in
        cpu-soft_grpo) recipe=('+softthink=[cpu,soft_grpo]') ;;
        cpu-grpo) recipe=('+softthink=[cpu]') ;;
        gpu-soft_grpo) recipe=('+softthink=soft_grpo') ;;
        gpu-grpo) recipe=(actor_rollout_ref.rollout.name=vllm) ;;
    esac
    if [ "$METHOD" = soft_grpo ]; then
        method=("${soft[@]}")
    fi
    # verl's file logger truncates its file; an earlier start's metrics are kept under a name that sorts before.
    export VERL_FILE_LOGGER_PATH=$OUT/metrics.jsonl
    if [ -s "$VERL_FILE_LOGGER_PATH" ]; then
        mv "$VERL_FILE_LOGGER_PATH" "$OUT/metrics-$(date -u +%Y%m%dT%H%M%S).jsonl"
    fi
    exec "$PYTHON" -m verl.trainer.main_ppo "${recipe[@]}" \
        algorithm.adv_estimator=grpo \
        trainer.project_name=soft_grpo "trainer.experiment_name=$METHOD" 'trainer.logger=[console,file]' \
        "trainer.default_local_dir=$OUT/checkpoints" trainer.resume_mode=auto \
        trainer.max_actor_ckpt_to_keep=2 "trainer.rollout_data_dir=$OUT/rollouts" \
        trainer.val_before_train=True \
        "${shared[@]}" "${method[@]}" "$@"
}
