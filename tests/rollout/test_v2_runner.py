"""vLLM's V2 model runner: parity and its controls, continuations, resumed responses, in a process of their own.

Which runner an engine has is decided when vLLM is imported, so the tests themselves are those of V1.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.vllm

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS = 840


def test_parity_and_its_controls_hold_on_the_v2_runner():
    tests = [
        f"tests/rollout/{name}.py" for name in ("test_parity", "v2_controls", "test_continuation", "test_async_client")
    ]
    chosen = "llama-untied or v2_controls or continuations_draw or both_parts or aborted"
    command = [sys.executable, "-m", "pytest", "-q", *tests, "-k", chosen]
    result = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"SOFTTHINK_TEST_RUNNER": "v2"},
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
    )
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-2000:]
    assert "16 passed" in result.stdout
