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
# Ray starts its workers at nice 15: anything else on the machine would starve them.
export RAY_worker_niceness=0
# Two processes share the tests, a file each at a time: whole runs first, for a long file at the end would leave a core
# idle, then what starts engines, which imports vLLM and verl once for all that follows.
mapfile -t runs < <(grep -rlE 'mark\.verl' tests --include='test_*.py' | sort)
mapfile -t engines < <(grep -rlE 'mark\.vllm' tests --include='test_*.py' | sort)
# Files alone: pytest would put those of a folder that is named too into the folder's order.
mapfile -t rest < <(grep -rLE 'mark\.(vllm|verl)' tests --include='test_*.py' | sort)
exec python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder --durations=25 \
    "${runs[@]}" "${engines[@]}" "${rest[@]}"
