#!/usr/bin/env bash
# Plain GRPO, the twin of run_qwen_gpu.sh: the same model, data, batch, learning rate and seeds, without process rewards.
METHOD=grpo exec bash "$(dirname "${BASH_SOURCE[0]}")/run_qwen_gpu.sh" "$@"
