"""No step waits for an accelerator, and none mixes devices: the vLLM runner's code on fake tensors of another device.

Beyond ``test_step_on_device.py`` it runs what stands between vLLM and the step: the embedding layer, the bookkeeping,
what replaces the sampler's output, and the copy of the trace, in bfloat16, alone and as one of two ranks.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_step_on_device import REQUESTS

pytestmark = pytest.mark.vllm

LIMIT_SECONDS = 600


@pytest.fixture(scope="module")
def seen():
    script = Path(__file__).parent / "on_fake_device.py"
    result = subprocess.run(
        [sys.executable, str(script)], env=os.environ, capture_output=True, text=True, timeout=LIMIT_SECONDS
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-5000:]
    return json.loads(result.stdout.splitlines()[-1])


def test_a_step_copies_its_bookkeeping_there_and_its_trace_back_and_nothing_else(seen):
    for name in REQUESTS:
        for kind, copies in seen[f"{name}-1"].items():
            # Slots and indices; where something generated is fed, its rows. And the packed trace.
            assert copies == [1 if kind == "prompt" else 2, 1], (name, kind)


def test_ranks_of_tensor_parallelism_copy_no_more(seen):
    for name in ("all_laws", "over_candidates"):
        assert seen[f"{name}-2"] == seen[f"{name}-1"]


def test_mistakes_would_be_seen(seen):
    assert len(seen["refused"]) == 8, seen["refused"]
