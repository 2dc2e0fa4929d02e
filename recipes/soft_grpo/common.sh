# Sourced by the run scripts: the two arms of this recipe.
#
#   METHOD=soft_grpo  the recipe (default)
#   METHOD=grpo       its twin: the same settings with verl's own rollout, engine and discrete tokens
#   OUT, PYTHON       see ../common.sh

METHOD=${METHOD:-soft_grpo}
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

# run PLATFORM ARGS...: PLATFORM is cpu or gpu. The arrays `shared` (both arms) and `soft` (the recipe's arm only) hold
# the settings; ARGS override both.
run() {
    local platform=$1
    shift
    case $platform-$METHOD in
        cpu-soft_grpo) train cpu,soft_grpo "${shared[@]}" "${soft[@]}" "$@" ;;
        cpu-grpo) train cpu "${shared[@]}" "$@" ;;
        gpu-soft_grpo) train soft_grpo "${shared[@]}" "${soft[@]}" "$@" ;;
        gpu-grpo) train "" actor_rollout_ref.rollout.name=vllm "${shared[@]}" "$@" ;;
    esac
}
