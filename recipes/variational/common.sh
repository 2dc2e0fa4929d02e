# Sourced by the run scripts. Picks the arm, the output directory and the metrics file, and starts verl's entry point.
#
#   METHOD=variational_b  traces of a posterior that sees a hint (default)
#   METHOD=variational_a  the on-policy form: verl's own rollouts and PPO loss, another advantage
#   METHOD=rft            twin: rejection-sampling fine-tuning, right responses alone
#   METHOD=grpo           twin: verl's GRPO
#   SEED=0                order of the problems, sampling of the rollout
#   OUT=DIR               metrics, checkpoints and rollout dumps; a second start continues from the last checkpoint
#   PYTHON=python         interpreter with verl_softthink installed

METHOD=${METHOD:-variational_b}
PYTHON=${PYTHON:-python}
SEED=${SEED:-0}

# choose_output NAME: makes $OUT an existing absolute path.
choose_output() {
    case $METHOD in
        variational_b | variational_a | rft | grpo) ;;
        *)
            echo "METHOD=$METHOD is unknown; use variational_b, variational_a, rft or grpo" >&2
            exit 2
            ;;
    esac
    OUT=${OUT:-outputs/variational/$1/$METHOD-$SEED}
    mkdir -p "$OUT"
    OUT=$(cd "$OUT" && pwd)
}

# train PLATFORM ARGS...: PLATFORM is cpu or gpu. The arrays `shared` (all arms) and `posterior` (METHOD=variational_b
# only) hold the settings; ARGS override both.
train() {
    local platform=$1 method=() recipe=()
    shift
    [ "$platform" = gpu ] || recipe=('+softthink=[cpu]')
    case $METHOD in
        variational_a) method=(algorithm.adv_estimator=variational) ;;
        rft)
            method=(algorithm.adv_estimator=rejection_sampling actor_rollout_ref.actor.policy_loss.loss_mode=variational)
            ;;
        grpo) method=(algorithm.adv_estimator=grpo) ;;
        variational_b)
            method=("${posterior[@]}")
            recipe=('+softthink=variational')
            [ "$platform" = gpu ] || recipe=('+softthink=[cpu,variational]')
            ;;
    esac
    # verl's file logger truncates its file; an earlier start's metrics are kept under a name that sorts before.
    export VERL_FILE_LOGGER_PATH=$OUT/metrics.jsonl
    if [ -s "$VERL_FILE_LOGGER_PATH" ]; then
        mv "$VERL_FILE_LOGGER_PATH" "$OUT/metrics-$(date -u +%Y%m%dT%H%M%S).jsonl"
    fi
    exec "$PYTHON" -m verl.trainer.main_ppo "${recipe[@]}" \
        actor_rollout_ref.rollout.name=vllm \
        "data.seed=$SEED" "actor_rollout_ref.actor.data_loader_seed=$SEED" "actor_rollout_ref.rollout.seed=$SEED" \
        actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-sum-norm \
        'actor_rollout_ref.actor.loss_scale_factor=${data.max_response_length}' \
        trainer.project_name=variational "trainer.experiment_name=$METHOD-$SEED" 'trainer.logger=[console,file]' \
        "trainer.default_local_dir=$OUT/checkpoints" trainer.resume_mode=auto \
        trainer.max_actor_ckpt_to_keep=2 "trainer.rollout_data_dir=$OUT/rollouts" \
        trainer.val_before_train=True \
        "${shared[@]}" "${method[@]}" "$@"
}
