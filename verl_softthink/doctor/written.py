"""What a model writes, held against what law and methods wait for: a few responses of a real engine, judged."""

from collections import Counter
from typing import TYPE_CHECKING

from verl_softthink.doctor.findings import Finding, ok, warning
from verl_softthink.doctor.sampling import Sampling
from verl_softthink.methods import registry
from verl_softthink.methods.responses import Responses
from verl_softthink.trace import unpack_rows

if TYPE_CHECKING:
    from vllm import LLM

CHECK = "responses"
#: Of each prompt.
_RESPONSES = 2
#: Characters of a response's end that a sentence quotes.
_QUOTED = 60


def written_findings(llm: "LLM", sampling: Sampling) -> list[Finding]:
    """Sample responses as ``sampling`` says, and look for the marker and for what its methods need."""
    from vllm import SamplingParams

    tokenizer = llm.get_tokenizer()
    asked = [
        (prompt, answer)
        for messages, answer in zip(sampling.prompts, sampling.answers, strict=True)
        for prompt in [_tokens(tokenizer, messages, sampling.template)] * _RESPONSES
        if len(prompt) <= sampling.prompt_tokens
    ]
    if not asked:
        return [
            warning(
                CHECK,
                f"None of {sampling.source} fits into data.max_prompt_length={sampling.prompt_tokens}: raise it.",
            )
        ]
    requests = [
        SamplingParams(max_tokens=sampling.tokens, extra_args=sampling.extra_args(seed), **sampling.parameters)
        for seed in range(len(asked))
    ]
    outputs = llm.generate([{"prompt_token_ids": prompt} for prompt, _ in asked], requests, use_tqdm=False)
    completions = [output.outputs[0] for output in outputs]
    phase = sampling.settings.phase
    responses = Responses.of_ids(
        tokenizer,
        [list(completion.token_ids) for completion in completions],
        origin=f"sampled to {sampling.source} ({sampling.tokens} tokens at most)",
        marker=phase.end_of_thinking,
        answers=[answer for _, answer in asked],
    )
    rows = [completion.routed_experts for completion in completions]
    if sampling.settings.law is None:
        ends = []
    elif any(row is None for row in rows):
        # Said by the check of the traces.
        return []
    else:
        ends = [marker_finding([unpack_rows(row).end_reason for row in rows], responses, sampling)]
    return ends + method_findings(responses, sampling)


def _tokens(tokenizer, messages: list[dict], template: dict) -> list[int]:
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **template)
    return tokenizer.encode(text, add_special_tokens=False)


def marker_finding(reasons: list[str], responses: Responses, sampling: Sampling) -> Finding:
    """How many responses wrote the marker by themselves.

    Args:
        reasons: why the thinking of each ended, of ``trace.END_REASONS``.
    """
    counts, phase = Counter(reasons), sampling.settings.phase
    others = ", ".join(f"{count} by {reason}" for reason, count in counts.items() if reason not in ("marker", "none"))
    sentence = (
        f"{counts['marker']} of {responses.noun} wrote {responses.marker!r} by themselves"
        f"{f'; thinking was ended {others}' if others else ''}"
    )
    if counts["marker"] or not counts["none"]:
        return ok(CHECK, f"{sentence}.")
    unended = responses.texts[reasons.index("none")]
    return warning(
        CHECK,
        f"{sentence}. One whose thinking never ended closes with {unended[-_QUOTED:]!r}: it has no answer, and trains "
        "on reward 0. Name in softthink.phase.end_of_thinking a text that this model writes there, set "
        f"softthink.phase.budget (is {phase.budget}) below the length of its responses, or, if it thinks longer, raise "
        "data.max_response_length.",
    )


def method_findings(responses: Responses, sampling: Sampling) -> list[Finding]:
    """What the configuration's methods look for in responses, and do not find."""
    methods = [method for method in registry.chosen(sampling.settings) if method.doubts is not None]
    sentences = [text for doubts in registry.parts("doubts", methods) for text in doubts(responses, sampling.settings)]
    if methods and not sentences:
        groups = ", ".join(f"softthink.{method.group}" for method in methods)
        return [ok(CHECK, f"Some of {responses.noun} contain what {groups} look{'s' * (len(methods) == 1)} for.")]
    return [warning(CHECK, f"{sentence}.") for sentence in dict.fromkeys(sentences)]
