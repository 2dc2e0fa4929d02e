"""What this package changes in vLLM, all of it, through the ``vllm.general_plugins`` entry point.

vLLM calls ``register`` in its API server, engine core and workers, before any engine is built.

VocabParallelEmbedding           replaced by plug-in   feeds mixtures (embedding)
transformers.utils.VocabParallelEmbedding, _VocabParallelEmbeddingBase
                                 replaced              the same in the Transformers backend (embedding)
GPUModelRunner._update_states, _preprocess, _sample, sample_tokens
                                 wrapped               the soft step (runner_v1)
gpu.GPUModelRunner.add_requests, prepare_inputs, sample_tokens; gpu.Sampler.__call__
                                 wrapped               the soft step of the V2 runner (runner_v2)
Scheduler.update_from_output     wrapped               trace rows leave the engine (return_path)
generate_block_hash_extra_keys   wrapped               cache keys that tell what was fed (prefix_cache)
InputProcessor.process_inputs    wrapped               requests are checked and resolved (frontend)
GPUModelRunner.sample_tokens     wrapped on a CPU      seeded requests in chunks (cpu.seeded_requests)
Worker.determine_available_memory, CPUWorker.determine_available_memory
                                 wrapped               memory of soft requests is reserved (memory)
Worker.execute_model, sample_tokens
                                 wrapped               a rank that fails ends the engine (rank_failure)

``VERL_SOFTTHINK_DISABLE=1`` turns all of it off. An engine without soft requests behaves as before,
but that on a CPU it serves seeded requests whose prompt is computed in chunks, of which vLLM dies.
"""

import os

_registered = False


def register() -> None:
    """Install every change once per process."""
    global _registered
    if _registered or os.environ.get("VERL_SOFTTHINK_DISABLE") == "1":
        return
    _registered = True

    from vllm.model_executor.custom_op import PluggableLayer
    from vllm.platforms import current_platform
    from vllm.v1.core import block_pool, kv_cache_utils
    from vllm.v1.core.sched.scheduler import Scheduler
    from vllm.v1.engine.input_processor import InputProcessor
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner

    from verl_softthink.cpu import seeded_requests
    from verl_softthink.rollout.vllm import (
        embedding,
        frontend,
        memory,
        prefix_cache,
        rank_failure,
        return_path,
        runner_v1,
        runner_v2,
    )
    from verl_softthink.upstream.hooks import when_imported

    PluggableLayer.register_oot(name="VocabParallelEmbedding")(embedding.SoftVocabParallelEmbedding)
    when_imported("vllm.model_executor.models.transformers.utils")(embedding.install_in_transformers_backend)
    runner_v1.install(GPUModelRunner)
    if current_platform.is_cpu():
        seeded_requests.install(GPUModelRunner)
    # Only an engine that runs it imports the V2 runner, which needs Triton.
    when_imported("vllm.v1.worker.gpu.model_runner")(runner_v2.install_runner)
    when_imported("vllm.v1.worker.gpu.sample.sampler")(runner_v2.install_sampler)
    return_path.install(Scheduler)
    prefix_cache.install(kv_cache_utils, block_pool)
    frontend.install(InputProcessor)
    # Only a worker's process imports its worker.
    when_imported("vllm.v1.worker.gpu_worker")(lambda module: memory.install(module.Worker))
    when_imported("vllm.v1.worker.gpu_worker")(lambda module: rank_failure.install(module.Worker))
    when_imported("vllm.v1.worker.cpu_worker")(lambda module: memory.install(module.CPUWorker))
