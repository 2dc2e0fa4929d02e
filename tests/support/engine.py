"""Settings of the small vLLM engines of the tests."""

CANDIDATES = 6
# 24 blocks of 16 tokens hold about three of the requests of a test: running eight at once preempts.
SMALL_CACHE = {"num_gpu_blocks_override": 24, "block_size": 16}
