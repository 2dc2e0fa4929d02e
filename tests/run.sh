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
# Two processes share the tests, a file each at a time: first the fast tests, then those that start engines and whole
# runs, which wait for one another's imports more than they compute. Whole runs first, for a long file at the end would
# leave a core idle.
status=0
python -m pytest -q -m "not vllm and not verl" -n 2 --dist loadfile --durations=25 || status=$?
mapfile -t runs < <(grep -rlE 'mark\.verl' tests --include='test_*.py' | sort)
mapfile -t engines < <(grep -rlE 'mark\.vllm' tests --include='test_*.py' | sort)
python -m pytest -q -m "vllm or verl" -n 2 --dist loadfile --no-loadscope-reorder --durations=25 \
    "${runs[@]}" "${engines[@]}" || status=$?
exit $status
