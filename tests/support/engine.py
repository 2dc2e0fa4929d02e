"""Settings of the small vLLM engines of the tests."""

import os

#: SOFTTHINK_TEST_RUNNER=v2 runs the engine tests on vLLM's V2 model runner, without a GPU (support/v2_on_cpu.py).
ON_V2 = os.environ.get("SOFTTHINK_TEST_RUNNER") == "v2"
#: SOFTTHINK_TEST_GRAPHS=1 runs them with CUDA graphs and torch.compile (tests/gpu/run.sh).
WITH_GRAPHS = os.environ.get("SOFTTHINK_TEST_GRAPHS") == "1"
#: SOFTTHINK_TEST_RANKS=2 runs them on two tensor-parallel processes.
RANKS = int(os.environ.get("SOFTTHINK_TEST_RANKS", "1"))

CANDIDATES = 6
#: What a thought over all states of a task may hold.
WIDEST_MIXTURE = 64
# 12 blocks of 32 tokens (the least of vLLM 0.31 on a CPU) hold about three of the requests of a test: running eight at
# once preempts.
SMALL_CACHE = {"num_gpu_blocks_override": 12, "block_size": 32}
