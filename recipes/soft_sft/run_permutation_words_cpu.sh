#!/usr/bin/env bash
# Soft-target fine-tuning of a fresh model on words of permutations, through verl's own SFT trainer.
#
#   bash recipes/soft_sft/run_permutation_words_cpu.sh [verl SFT overrides ...]
#
#   METHOD=soft     thoughts as target distributions (default)
#   METHOD=path     twin: tokens of the path that ends in the answer, as many positions
#   METHOD=blind_path  twin: tokens of one path that is chosen without regard to the answer
#   METHOD=paths    twin: tokens of all paths, k times the positions
#   METHOD=pause    twin: pause tokens
#   STEPS=500       optimiser steps
#   DATA=DIR        what `verl-softthink data permutation-words` wrote; made if it is not there
#   OUT, PYTHON     see ../common.sh
set -euo pipefail
METHOD=${METHOD:-soft}
STEPS=${STEPS:-500}
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
choose_output soft_sft permutation_words soft path blind_path paths pause
DATA=${DATA:-outputs/soft_sft/permutation_words/data}
export VERL_PLATFORM=cpu VERL_FILE_LOGGER_PATH=$OUT/metrics.jsonl

if [ ! -f "$DATA/task.json" ]; then
    "$PYTHON" -c 'from verl_softthink.cli import app; app()' data permutation-words "$DATA"
fi
recipe=token_sft
if [ "$METHOD" = soft ]; then
    recipe=soft_sft
fi
exec "$PYTHON" -m torch.distributed.run --standalone --nproc_per_node=1 -m verl.trainer.sft_trainer \
    "+softthink=[cpu_sft,$recipe]" \
    "data.train_files=$DATA/sft_$METHOD.parquet" "model.path=$DATA/model" data.max_length=64 \
    data.train_batch_size=192 data.micro_batch_size_per_gpu=192 data.use_dynamic_bsz=False \
    optim.lr=1e-3 optim.lr_warmup_steps=100 optim.lr_scheduler_type=cosine \
    "trainer.total_training_steps=$STEPS" 'checkpoint.save_contents=[model,optimizer,extra,hf_model]' \
    trainer.project_name=soft_sft "trainer.experiment_name=$METHOD" 'trainer.logger=[console,file]' \
    "trainer.default_local_dir=$OUT/checkpoints" "$@"
