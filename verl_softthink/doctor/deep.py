"""``--deep``: the plugin at work in a Ray worker and in a real vLLM engine."""

from verl_softthink.doctor.findings import Finding, failure, ok, warning
from verl_softthink.doctor.registrations import registration_findings
from verl_softthink.standalone import choose_platform, vllm_engine

CHECK = "engine"
_OBJECT_STORE_BYTES = 100 * 2**20
_BLOCK = 16
_RESPONSES, _TOKENS = 8, 128
_QUESTION = "What is 3 + 4?"


def ray_findings() -> list[Finding]:
    """Start Ray and ask one worker for its registrations."""
    choose_platform()
    import ray

    ray.init(address="local", num_cpus=1, num_gpus=0, include_dashboard=False, object_store_memory=_OBJECT_STORE_BYTES)
    ask = ray.remote(num_cpus=1)(registration_findings)
    findings = ray.get(ask.remote("a Ray worker"))
    ray.shutdown()
    return findings


def engine_findings(model: str, marker: str | list[int]) -> list[Finding]:
    """Soft responses of a real engine: traces come back, no other request reads their cache, the marker is written."""
    choose_platform()
    from vllm import SamplingParams

    def settings(seed: int) -> dict:
        phase = {"end_of_thinking": marker, "budget": _TOKENS - _BLOCK}
        return {"softthink": {"phase": phase, "filter": {"top_k": 5, "max_topk": 5}, "seed": seed}}

    with vllm_engine(
        model,
        max_model_len=2 * _TOKENS,
        max_num_seqs=_RESPONSES,
        enable_prefix_caching=True,
        block_size=_BLOCK,
        disable_log_stats=True,
    ) as llm:
        tokenizer = llm.get_tokenizer()
        messages = [{"role": "user", "content": _QUESTION}]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        prompt = tokenizer.encode(text, add_special_tokens=False)
        requests = [
            SamplingParams(max_tokens=_TOKENS, temperature=1.0, ignore_eos=True, extra_args=settings(seed))
            for seed in range(_RESPONSES)
        ]
        outputs = llm.generate([{"prompt_token_ids": prompt}] * _RESPONSES, requests, use_tqdm=False)
        responses = [output.outputs[0] for output in outputs]
        shown = prompt + list(responses[0].token_ids)
        follow_up = llm.generate(
            [{"prompt_token_ids": shown}], SamplingParams(max_tokens=1, temperature=0.0), use_tqdm=False
        )[0]
    return [_traces(responses), _cache(follow_up.num_cached_tokens or 0, len(prompt)), *_markers(responses, marker)]


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


def _markers(responses: list, marker: str | list[int]) -> list[Finding]:
    from verl_softthink.trace import unpack_rows

    if any(response.routed_experts is None for response in responses):
        return []
    reasons = [unpack_rows(response.routed_experts).end_reason for response in responses]
    written = reasons.count("marker")
    sentence = f"{written} of {len(reasons)} soft responses to {_QUESTION!r} wrote {marker!r} by themselves"
    if written:
        return [ok(CHECK, f"{sentence}.")]
    return [
        warning(
            CHECK,
            f"{sentence} within {_TOKENS - _BLOCK} tokens: if the model does so on longer thoughts neither, set "
            "softthink.phase.budget.",
        )
    ]
