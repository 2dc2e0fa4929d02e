#!/usr/bin/env bash
# All tests, with their own set-up: bash tests/run.sh. With arguments: pytest with these, e.g. tests/laws -k concrete.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source examples/setup_cpu.sh
# One thread a process: two cores are shared by the dozen processes of a training run.
export OMP_NUM_THREADS=1
if [ $# -gt 0 ]; then
    exec python -m pytest "$@"
fi
# A process each, because vLLM and torch.distributed keep global state: first the fast ones, on both cores.
status=0
python -m pytest -q -m "not vllm and not verl" -n 2 --dist loadfile --durations=25 || status=$?
for group in vllm verl; do
    python -m pytest -q -m "$group" --durations=12 || status=$?
done
exit $status
