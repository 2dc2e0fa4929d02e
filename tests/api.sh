#!/usr/bin/env bash
# The API reference, made from the docstrings by pdoc: bash tests/api.sh [DIR], in an environment with the extra `docs`.
# A module that cannot be imported and a name that does not resolve end it; what docstrings refer to is held by
# test_docstring_references.py.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=${1:-outputs/api}
# A package with __all__ shows no modules of its own accord; the laws' have the equations.
mapfile -t laws < <(find verl_softthink/laws -name '[a-z]*.py' | sort | sed 's#/#.#g; s#\.py$##')
VERL_PLATFORM=${VERL_PLATFORM:-cpu} PDOC_ALLOW_EXEC=1 python \
    -W "error:Couldn't import" -W "error:Cannot find spec" -W "error:Found " -W "error:Error parsing" \
    -m pdoc --docformat google --output-directory "$out" verl_softthink "${laws[@]}"
echo "$out/index.html"
