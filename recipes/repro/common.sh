# Sourced by the run scripts: the arms of this recipe.
#
#   METHOD=repro            GRPO with process rewards, discrete tokens (default)
#   METHOD=grpo             its twin: the same settings without them
#   METHOD=soft_grpo_repro  soft rollouts with process rewards
#   METHOD=soft_grpo        its twin
#   SEED=0                  of data order and mini-batches; runs of several seeds go to directories of their own
#   OUT, PYTHON             see ../common.sh

METHOD=${METHOD:-repro}
SEED=${SEED:-0}
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

# run PLATFORM ARGS...: PLATFORM is cpu or gpu. The arrays `shared` (all arms), `process` (arms with process rewards)
# and `soft` (arms with soft rollouts) hold the settings; ARGS override them.
run() {
    local platform=$1 names=() settings=("${shared[@]}")
    shift
    if [ "$platform" = cpu ]; then
        names+=(cpu)
    fi
    case $METHOD in
        soft_*)
            names+=(soft_grpo)
            settings+=("${soft[@]}")
            ;;
        *) settings+=(actor_rollout_ref.rollout.name=vllm) ;;
    esac
    case $METHOD in
        *repro)
            names+=(repro)
            settings+=("${process[@]}")
            ;;
    esac
    train "$(IFS=,; echo "${names[*]}")" "${settings[@]}" "$@"
}
