"""Two tensor-parallel processes: the parity suite on either model runner, in a process of its own.

The ranks draw without a word to each other: vLLM gathers the logits of all shards on every rank, and the noise is a
function of seed, index and token. Each mixes the embeddings of its own shard, and the sums are reduced. A rank that
drew differently would put another request's part into that sum, which the teacher-forced loop sees. What one of them
cannot take in, none serves, and a step that one fails ends the engine.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.vllm

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS = 840


@pytest.mark.parametrize("runner", ["v1", "v2"])
def test_parity_holds_on_two_ranks(runner):
    output = on_two_ranks(runner, "tests/rollout/test_parity.py", "-k", "llama-untied")
    assert "5 passed, 2 skipped" in output
    # Each rank chooses its runner again, in its own process: this is what a rank says of it.
    assert ("Using V2 Model Runner" in output) == (runner == "v2")


def test_what_one_rank_cannot_take_in_ends_on_both():
    on_two_ranks("v1", "tests/rollout/rank_failure.py", "-k", "request_ends_on_both")


def on_two_ranks(runner: str, *arguments: str) -> str:
    """What pytest says of these tests."""
    # The ranks find each other through the loopback interface, whatever else the machine has.
    ranks = {
        "SOFTTHINK_TEST_RANKS": "2",
        "SOFTTHINK_TEST_RUNNER": runner,
        "VLLM_HOST_IP": "127.0.0.1",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-s", *arguments],
        cwd=ROOT,
        env=os.environ | ranks,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
    )
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-2000:]
    return result.stdout + result.stderr
