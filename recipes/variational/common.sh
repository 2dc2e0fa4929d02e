# Sourced by the run scripts: the arms of this recipe.
#
#   METHOD=variational_b  thoughts of a posterior that sees a hint (default)
#   METHOD=variational_a  the on-policy form: verl's own rollouts and PPO loss, another advantage
#   METHOD=rft            twin: rejection-sampling fine-tuning, right responses alone
#   METHOD=grpo           twin: verl's GRPO
#   SEED=0                order of the problems, sampling of the rollout; runs of several seeds have their own directories
#   OUT, PYTHON           see ../common.sh

METHOD=${METHOD:-variational_b}
SEED=${SEED:-0}
ARMS=(variational_b variational_a rft grpo)
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

# run PLATFORM ARGS...: PLATFORM is cpu or gpu. The arrays `shared` (all arms) and `posterior` (METHOD=variational_b
# only) hold the settings; ARGS override both.
run() {
    local platform=$1 method=() names=()
    shift
    if [ "$platform" = cpu ]; then
        names+=(cpu)
    fi
    case $METHOD in
        variational_a) method=(algorithm.adv_estimator=variational) ;;
        rft)
            method=(algorithm.adv_estimator=rejection_sampling actor_rollout_ref.actor.policy_loss.loss_mode=variational)
            ;;
        variational_b)
            names+=(variational)
            method=(algorithm.adv_estimator=variational "${posterior[@]}")
            ;;
    esac
    train "$(IFS=,; echo "${names[*]}")" \
        actor_rollout_ref.rollout.name=vllm \
        "data.seed=$SEED" "actor_rollout_ref.actor.data_loader_seed=$SEED" "actor_rollout_ref.rollout.seed=$SEED" \
        actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-sum-norm \
        'actor_rollout_ref.actor.loss_scale_factor=${data.max_response_length}' \
        "${shared[@]}" "${method[@]}" "$@"
}
