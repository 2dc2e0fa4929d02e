"""Engine-wide settings of soft requests, and the engine features they cannot run with.

The functions at the end are all that differs between releases of vLLM, 0.24 to 0.31: what is wrapped and read elsewhere
is the same in each, as ``upstream/symbols.py`` lists it. ``tests/vllm_versions.sh`` runs the parity tests with another
release, which is supported once they pass.
"""

from verl_softthink.config.settings import MOST_CANDIDATES
from verl_softthink.rollout.engine_settings import check_settings
from verl_softthink.rollout.request import EXTRA_ARGS_KEY

#: Candidate slots per position unless ``additional_config.softthink.max_candidates`` says otherwise.
DEFAULT_CANDIDATE_SLOTS = 16


def candidate_slots(vllm_config) -> int:
    """K of this engine: the widest mixture any request may ask for.

    Raises:
        ValueError: when it is no number of candidates.
    """
    count = _settings(vllm_config).get("max_candidates", DEFAULT_CANDIDATE_SLOTS)
    if type(count) is not int or not 1 <= count <= MOST_CANDIDATES:
        raise ValueError(
            f"additional_config.softthink.max_candidates={count!r}: it must be a whole number, 1 to {MOST_CANDIDATES}"
        )
    return count


def announces_soft_requests(vllm_config) -> bool:
    """Whether the engine was started for soft requests: its ``additional_config`` has their key, if with no setting."""
    return isinstance(vllm_config.additional_config, dict) and EXTRA_ARGS_KEY in vllm_config.additional_config


def carries_embeddings(vllm_config) -> bool:
    """Whether the engine keeps and returns drawn embeddings, [max_num_seqs, max_model_len, H] in the model's dtype."""
    return bool(_settings(vllm_config).get("carries_embeddings", False))


def compiled_step(vllm_config) -> bool:
    """Whether torch.compile fuses the soft step: once per mixture of laws and settings alive, some ten seconds each."""
    return bool(_settings(vllm_config).get("compile_step", False))


def _settings(vllm_config) -> dict:
    settings = vllm_config.additional_config[EXTRA_ARGS_KEY] if announces_soft_requests(vllm_config) else {}
    unknown = set(settings) - {"max_candidates", "carries_embeddings", "compile_step"}
    if unknown:
        raise ValueError(
            f"additional_config.softthink has unknown keys {sorted(unknown)}; the keys are max_candidates, "
            "carries_embeddings and compile_step"
        )
    return settings


def check_engine(vllm_config) -> None:
    """Refuse an engine that would serve soft requests wrongly.

    Raises:
        ValueError: naming the setting, its value and the fix.
    """
    parallel, model = vllm_config.parallel_config, vllm_config.model_config
    check_settings(
        {
            "pipeline_parallel_size": parallel.pipeline_parallel_size,
            "prefill_context_parallel_size": parallel.prefill_context_parallel_size,
            "scheduling_policy": vllm_config.scheduler_config.policy,
            "enable_batch_sharded_sampling": batch_sharded_sampling(parallel),
            "speculative_config": vllm_config.speculative_config,
            "enable_prompt_embeds": model.enable_prompt_embeds,
            "enable_return_routed_experts": returns_routed_experts(vllm_config),
        }
    )
    if model.uses_mrope:
        raise ValueError(
            f"{model.architecture} has 3-D positions, under which soft tokens have not been checked; use a text-only "
            "model, or send requests without extra_args['softthink']"
        )
    if vllm_config.use_v2_model_runner and (model.is_hybrid or model.is_attention_free or model.is_encoder_decoder):
        raise ValueError(
            f"{model.architecture} has a model state of its own in vLLM's V2 model runner, under which soft tokens "
            "have not been checked; set VLLM_USE_V2_MODEL_RUNNER=0"
        )


def batch_sharded_sampling(parallel_config) -> bool:
    """Whether tensor-parallel ranks sample a part of the batch each; releases before the setting never do."""
    return bool(getattr(parallel_config, "enable_batch_sharded_sampling", False))


def returns_routed_experts(vllm_config) -> bool:
    """Whether routed experts are asked for: a setting of the model up to 0.30, of the auxiliary outputs from 0.31."""
    owner = getattr(vllm_config, "aux_output_config", vllm_config.model_config)
    return bool(owner.enable_return_routed_experts)


def has_own_group(embedding) -> bool:
    """Whether an embedding is split over other ranks than those of tensor parallelism, as 0.31 lets a model choose."""
    return getattr(embedding, "parallel_group", None) is not None
