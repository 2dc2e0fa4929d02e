#!/usr/bin/env bash
# All tests, with their own set-up: bash tests/run.sh [pytest arguments]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source examples/setup_cpu.sh
exec python -m pytest "$@"
