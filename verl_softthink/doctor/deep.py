"""``--deep``: the plugin at work in a Ray worker and in a real vLLM engine."""

from typing import TYPE_CHECKING

from verl_softthink.doctor.configuration import compose
from verl_softthink.doctor.findings import Finding, failure, ok, warning
from verl_softthink.doctor.registrations import registration_findings
from verl_softthink.doctor.sampling import BUILT_IN, Sampling, built_in, configured
from verl_softthink.doctor.written import written_findings
from verl_softthink.pocket import checkpoint_path
from verl_softthink.rollout.request import EXTRA_ARGS_KEY
from verl_softthink.standalone import choose_platform, vllm_engine

if TYPE_CHECKING:
    from vllm import LLM

CHECK = "engine"
_OBJECT_STORE_BYTES = 100 * 2**20
_BLOCK = 16
_RESPONSES, _TOKENS = 8, 128


def ray_findings() -> list[Finding]:
    """Start Ray and ask one worker for its registrations."""
    choose_platform()
    import ray

    ray.init(address="local", num_cpus=1, num_gpus=0, include_dashboard=False, object_store_memory=_OBJECT_STORE_BYTES)
    ask = ray.remote(num_cpus=1)(registration_findings)
    findings = ray.get(ask.remote("a Ray worker"))
    ray.shutdown()
    return findings


def engine_findings(model: str | None, overrides: list[str]) -> list[Finding]:
    """One real engine: traces come back, no other request reads their cache, and the model writes what is waited for.

    Args:
        model: checkpoint; None for the configuration's, or the pocket reasoner.
        overrides: verl's command line, whose prompts and settings are sampled; none, and built-in questions are.
    """
    choose_platform()
    sampling, refused = _sampling(model, overrides)
    arguments = {
        "max_model_len": max(2 * _TOKENS, sampling.prompt_tokens + sampling.tokens),
        "max_num_seqs": _RESPONSES,
        "enable_prefix_caching": True,
        "block_size": _BLOCK,
        "disable_log_stats": True,
        "additional_config": sampling.additional_config,
    }
    with vllm_engine(sampling.model, **arguments | sampling.engine) as llm:
        return [*_machinery(llm), *refused, *written_findings(llm, sampling)]


def _sampling(model: str | None, overrides: list[str]) -> tuple[Sampling, list[Finding]]:
    """What to sample, and a finding where the configuration does not say."""
    plain = built_in(model or str(checkpoint_path()))
    if not overrides:
        return plain, []
    from verl_softthink.training.check import check_config

    try:
        config = compose(overrides)
        return (configured(model, config, check_config(config)), []) if "softthink" in config else (plain, [])
    except ValueError:
        text = "The configuration is refused, so built-in questions are sampled in place of its prompts."
        return plain, [warning(CHECK, text)]


def _machinery(llm: "LLM") -> list[Finding]:
    """Traces and cache keys, on requests of their own."""
    from vllm import SamplingParams

    tokenizer = llm.get_tokenizer()
    messages = [{"role": "user", "content": BUILT_IN[0][0]}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    prompt = tokenizer.encode(text, add_special_tokens=False)
    requests = [
        SamplingParams(max_tokens=_TOKENS, temperature=1.0, ignore_eos=True, extra_args=_soft_request(seed))
        for seed in range(_RESPONSES)
    ]
    outputs = llm.generate([{"prompt_token_ids": prompt}] * _RESPONSES, requests, use_tqdm=False)
    responses = [output.outputs[0] for output in outputs]
    shown = prompt + list(responses[0].token_ids)
    follow_up = llm.generate(
        [{"prompt_token_ids": shown}], SamplingParams(max_tokens=1, temperature=0.0), use_tqdm=False
    )[0]
    return [_traces(responses), _cache(follow_up.num_cached_tokens or 0, len(prompt))]


def _soft_request(seed: int) -> dict:
    """A request that thinks for all but its last block of tokens, whatever the tokenizer."""
    return {EXTRA_ARGS_KEY: {"phase": {"end_of_thinking": [0], "budget": _TOKENS - _BLOCK}, "seed": seed}}


def _traces(responses: list) -> Finding:
    if all(r.routed_experts is not None and len(r.routed_experts) == len(r.token_ids) for r in responses):
        return ok(CHECK, f"vLLM returns a whole trace with each of {len(responses)} soft responses.")
    return failure(
        CHECK,
        "vLLM answers soft requests without a trace: its engine core did not load the plugin (VLLM_PLUGINS, if set, "
        "must name verl_softthink, and VERL_SOFTTHINK_DISABLE must not be set there).",
    )


def _cache(cached: int, prompt_tokens: int) -> Finding:
    if cached <= prompt_tokens:
        return ok(CHECK, "An ordinary request does not find cached blocks of soft positions.")
    return failure(
        CHECK,
        f"An ordinary request read {cached - prompt_tokens} cached positions of a soft one, whose keys belong to "
        "mixtures: vLLM's prefix cache keys lack what was fed; turn enable_prefix_caching off and report it.",
    )
