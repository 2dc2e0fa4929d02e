"""One real vLLM engine in this process, on a tiny model; small enough to preempt and to chunk prompts."""

import gc
import os
from pathlib import Path

import pytest
import torch
from support.engine import CANDIDATES, ON_V2, RANKS, WITH_GRAPHS

# Read by vLLM when it is imported.
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
if torch.cuda.is_available():
    os.environ["VLLM_USE_V2_MODEL_RUNNER"] = str(int(ON_V2))
    # Parity is in float32: Triton's products would round their factors to TF32.
    os.environ["TRITON_F32_DEFAULT"] = "ieee"
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
else:
    if ON_V2:
        import support.v2_on_cpu
    if RANKS > 1:
        import support.forked_ranks  # noqa: F401 - before an engine


@pytest.fixture(scope="module")
def engine_factory():
    """Build vLLM engines; each is torn down before the next one and at the end of the module."""
    from vllm import LLM
    from vllm.distributed import cleanup_dist_env_and_memory

    alive = []

    def tear_down():
        while alive:
            engine = alive.pop()
            engine.llm_engine.engine_core.shutdown()
            del engine
        gc.collect()
        cleanup_dist_env_and_memory()

    def build(model: Path, **overrides) -> LLM:
        tear_down()
        arguments = {
            "dtype": "float32",
            "enforce_eager": not WITH_GRAPHS,
            "max_model_len": 256,
            "max_num_seqs": 8,
            "max_num_batched_tokens": 48,
            "enable_prefix_caching": True,
            "disable_log_stats": True,
            "additional_config": {"softthink": {"max_candidates": CANDIDATES}},
        }
        if torch.cuda.is_available():
            # Of vLLM's backends it takes float32 and whole CUDA graphs.
            arguments["attention_backend"] = "TRITON_ATTN"
        if RANKS > 1:
            arguments |= {"tensor_parallel_size": RANKS, "distributed_executor_backend": "mp"}
        if ON_V2:
            arguments["async_scheduling"] = True
        alive.append(LLM(str(model), **arguments | overrides))
        # The runner that a run is about is the one that it gets.
        assert alive[-1].llm_engine.vllm_config.use_v2_model_runner == ON_V2
        return alive[-1]

    yield build
    tear_down()
