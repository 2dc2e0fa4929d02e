#!/usr/bin/env bash
# The offline pipeline on the pocket reasoner: weighted thoughts of the posterior, then verl's own SFT trainer on them.
#
#   bash recipes/variational/run_sft_pocket_cpu.sh [verl SFT overrides ...]
#
# Environment: MODEL (as run_pocket_cpu.sh); OUT: directory; PYTHON; QUESTIONS: number of training problems.
set -euo pipefail
PYTHON=${PYTHON:-python}
OUT=${OUT:-outputs/variational/pocket/sft}
QUESTIONS=${QUESTIONS:-512}
MODEL=${MODEL:-$PWD/outputs/variational/pocket/model}
export VERL_PLATFORM=cpu

mkdir -p "$OUT"
if [ ! -f "$MODEL/provenance.json" ]; then
    "$PYTHON" -m verl_softthink.pocket.train --out "$MODEL" --hint-rate 0.5 --steps 800
fi
if [ ! -f "$OUT/data/train.parquet" ]; then
    "$PYTHON" -m verl_softthink.pocket.data --out "$OUT/data" --train "$QUESTIONS" --val 256 --seed 0
fi
cat > "$OUT/settings.yaml" <<'YAML'
hint: {source: solution, template: "{question}|{hint}"}
reward: pkg://verl_softthink.pocket.reward
max_thought_tokens: 56
max_answer_tokens: 4
YAML
# Continues where an interrupted one stopped.
"$PYTHON" -c 'from verl_softthink.cli import app; app()' data variational --questions "$OUT/data/train.parquet" \
    --model "$MODEL" --work "$OUT/thoughts" --settings "$OUT/settings.yaml"

export VERL_FILE_LOGGER_PATH=$OUT/metrics.jsonl
exec "$PYTHON" -m torch.distributed.run --standalone --nproc_per_node=1 -m verl.trainer.sft_trainer \
    "data.train_files=$OUT/thoughts/train.parquet" \
    data.custom_cls.path=pkg://verl_softthink.methods.variational.offline.sft data.custom_cls.name=WeightedThoughts \
    data.pad_mode=no_padding +data.token_scale=64 data.max_length=128 data.num_workers=0 \
    data.train_batch_size=32 data.micro_batch_size_per_gpu=32 data.use_dynamic_bsz=False \
    "model.path=$MODEL" model.use_remove_padding=False model.enable_gradient_checkpointing=False \
    +model.override_config.attn_implementation=sdpa \
    engine.strategy=fsdp2 engine.use_torch_compile=False \
    '+engine.mixed_precision={param_dtype: fp32, reduce_dtype: fp32, buffer_dtype: fp32}' \
    optim.lr=1e-4 \
    trainer.device=cpu trainer.total_epochs=1 'trainer.logger=[console,file]' \
    trainer.project_name=variational trainer.experiment_name=sft "trainer.default_local_dir=$OUT/checkpoints" "$@"
