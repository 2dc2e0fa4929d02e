# Sourced by the run scripts: the arms of this recipe.
#
#   METHOD=soft        mean embeddings at temperature 0.5, with noise (default)
#   METHOD=fuzzy       the same at temperature 1e-4
#   METHOD=candidates  noise among the candidates, which the model can steer, at temperature 1
#   METHOD=hard        ordinary tokens with the same loss, advantage, markers and budgets
#   METHOD=soft_grpo   SofT-GRPO, for comparison
#   METHOD=grpo        verl's GRPO on its own rollouts, for comparison
#   SEED=0             data order, mini-batches, noise; runs of several seeds go to directories of their own
#   OUT, PYTHON        see ../common.sh

METHOD=${METHOD:-soft}
SEED=${SEED:-0}
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
METHODS=(soft fuzzy candidates hard soft_grpo grpo)

# run PLATFORM ARGS...: PLATFORM is cpu or gpu. The arrays `shared` (all arms), `thinking` (arms of the plugin), `rloo`
# (arms of this recipe) and `clipped` (the two of comparison) hold the settings; ARGS override them.
run() {
    local platform=$1 names=() settings=("${shared[@]}")
    shift
    if [ "$platform" = cpu ]; then
        names+=(cpu)
    fi
    case $METHOD in
        soft) names+=(soft_tokens) ;;
        fuzzy | candidates | hard) names+=(soft_tokens "soft_tokens_$METHOD") ;;
        soft_grpo) names+=(soft_grpo) ;;
        grpo) settings+=(actor_rollout_ref.rollout.name=vllm) ;;
    esac
    case $METHOD in
        soft | fuzzy | candidates | hard) settings+=(algorithm.adv_estimator=rloo "${rloo[@]}") ;;
        *) settings+=("${clipped[@]}") ;;
    esac
    if [ "$METHOD" != grpo ]; then
        settings+=("${thinking[@]}" "softthink.rollout.seed=$SEED")
    fi
    train "$(IFS=,; echo "${names[*]}")" "${settings[@]}" \
        "data.seed=$SEED" "actor_rollout_ref.actor.data_loader_seed=$SEED" "$@"
}
