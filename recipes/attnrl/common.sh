# Sourced by the run scripts: the arms of this recipe.
#
#   METHOD=attnrl   attention-guided branching with adaptive sampling (default)
#   METHOD=soft_attnrl   the same on SofT-GRPO's soft rollouts
#   METHOD=treerl   twin: branching by entropy, every response branched, a fixed batch, no filters
#   METHOD=grpo     twin: verl's GRPO; on a CPU with as many responses to a prompt as cost a tree's generated tokens
#   SEED=0          of data order, mini-batches and rollouts; runs of several seeds go to directories of their own
#   OUT, PYTHON     see ../common.sh

METHOD=${METHOD:-attnrl}
SEED=${SEED:-0}
ARMS=(attnrl soft_attnrl treerl grpo)
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

# run PLATFORM ARGS...: PLATFORM is cpu or gpu. The arrays `shared` (all arms), `tree` (attnrl, treerl), `adaptive`
# (attnrl), `soft` (soft_attnrl) and `group` (grpo) hold the settings; ARGS override them.
run() {
    local platform=$1 names=() method=()
    shift
    if [ "$platform" = cpu ]; then
        names+=(cpu)
    fi
    case $METHOD in
        attnrl)
            names+=(attnrl)
            method=("${tree[@]}" "${adaptive[@]}")
            ;;
        soft_attnrl)
            names+=(soft_grpo attnrl)
            method=("${tree[@]}" "${adaptive[@]}" "${soft[@]}")
            ;;
        treerl)
            names+=(attnrl)
            method=(
                "${tree[@]}" softthink.attnrl.branching=entropy softthink.attnrl.expansion=all
                softthink.attnrl.attention_filter=false softthink.attnrl.zero_advantage_filter=false
                softthink.attnrl.adaptive_batch=false
            )
            ;;
        grpo) method=("${group[@]}") ;;
    esac
    train "$(IFS=,; echo "${names[*]}")" \
        actor_rollout_ref.rollout.name=vllm \
        "data.seed=$SEED" "actor_rollout_ref.actor.data_loader_seed=$SEED" "actor_rollout_ref.rollout.seed=$SEED" \
        actor_rollout_ref.actor.clip_ratio_low=0.2 actor_rollout_ref.actor.clip_ratio_high=0.28 \
        actor_rollout_ref.actor.clip_ratio_c=3.0 actor_rollout_ref.actor.loss_agg_mode=token-mean \
        actor_rollout_ref.actor.use_kl_loss=True actor_rollout_ref.actor.kl_loss_coef=0.001 \
        actor_rollout_ref.actor.kl_loss_type=low_var_kl actor_rollout_ref.actor.entropy_coeff=0 \
        "${shared[@]}" "${method[@]}" "$@"
}
