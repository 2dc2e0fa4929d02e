"""What a soft request does with each field of vLLM's ``SamplingParams``: one table for the frontend and for readers.

A law draws soft positions from the raw logits, behind vLLM's sampler: what changes logits or sampling rules the answer
and ordinary tokens of thinking, and is refused where its meaning would need the whole response. A field that vLLM adds
is refused by a test until it has a row.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from verl_softthink.config.messages import shown

HONOURED, ANSWER, REFUSED = "honoured", "answer only", "refused"


@dataclass(frozen=True)
class Field:
    """One field.

    Attributes:
        use: whether it holds for the whole response, for what vLLM's sampler decides, or not at all.
        why: what takes its place, or the reason, and the fix where it is refused.
        neutral: a value that asks for nothing, beside None and those that are empty or 0.
    """

    use: Literal["honoured", "answer only", "refused"]
    why: str
    neutral: object = None


_TEXT = Field(HONOURED, "shapes the text of the shown tokens")
_OUTPUT = Field(HONOURED, "how outputs reach the caller")
_INTERNAL = Field(HONOURED, "vLLM derives it from other fields")
_PROMPT = Field(HONOURED, "scores the shown tokens of the prompt, behind what was fed")
_LOGITS = "changes logits, and soft positions are drawn from the raw ones, as training scores them"
_PENALTY = f"{_LOGITS}; leave it out"
_SECOND_VALUE = (
    "would return a log-probability of the vocabulary in place of a soft position's log-density; use logprobs=0, and "
    "score tokens by an ordinary request"
)

FIELDS: Mapping[str, Field] = {
    "n": Field(
        REFUSED,
        "one soft request draws one response, its noise being a function of its seed; send several requests with "
        "different extra_args['softthink']['seed']",
        neutral=1,
    ),
    "presence_penalty": Field(REFUSED, _PENALTY),
    "frequency_penalty": Field(REFUSED, _PENALTY),
    "repetition_penalty": Field(REFUSED, f"{_LOGITS}; set it to 1", neutral=1),
    "temperature": Field(ANSWER, "softthink.filter.temperature rules soft positions"),
    "watermarking": Field(ANSWER, "marks tokens that vLLM samples"),
    "top_p": Field(ANSWER, "softthink.filter.top_p rules soft positions"),
    "top_k": Field(ANSWER, "softthink.filter.top_k rules soft positions"),
    "min_p": Field(ANSWER, "softthink.filter.min_p rules soft positions"),
    "seed": Field(ANSWER, "softthink.seed is the seed of the noise"),
    "stop": Field(HONOURED, "compared with the text of the shown tokens, thinking included"),
    "stop_token_ids": Field(HONOURED, "compared with shown tokens, thinking included"),
    "ignore_eos": Field(HONOURED, "a shown end-of-sequence token then ends nothing, in thinking neither"),
    "max_tokens": Field(HONOURED, "counts thinking and answer"),
    "min_tokens": Field(
        REFUSED,
        "forbids vLLM's sampler to end the response, while a law may still draw the end-of-sequence token; use "
        "ignore_eos, or softthink.phase.budget",
    ),
    "logprobs": Field(REFUSED, _SECOND_VALUE),
    "prompt_logprobs": _PROMPT,
    "prompt_logprob_token_ids": _PROMPT,
    "prompt_logprob_start": _PROMPT,
    "logprob_token_ids": Field(REFUSED, _SECOND_VALUE),
    "flat_logprobs": _OUTPUT,
    "detokenize": _TEXT,
    "skip_special_tokens": _TEXT,
    "spaces_between_special_tokens": _TEXT,
    "include_stop_str_in_output": _TEXT,
    "output_kind": _OUTPUT,
    "stream_interval": _OUTPUT,
    "skip_clone": _INTERNAL,
    "output_text_buffer_length": _INTERNAL,
    "_eos_token_id": _INTERNAL,
    "_all_stop_token_ids": _INTERNAL,
    "structured_outputs": Field(
        REFUSED,
        "its grammar would have to accept the tokens of thinking and of the marker; ask for it in a request "
        "that continues the response without softthink",
    ),
    "logit_bias": Field(REFUSED, _PENALTY),
    "allowed_token_ids": Field(REFUSED, f"{_LOGITS}; narrow the candidates by softthink.filter"),
    "extra_args": Field(HONOURED, "carries softthink itself"),
    "routed_experts_prompt_start": Field(REFUSED, "cuts the channel that carries the soft trace; leave it out"),
    "bad_words": Field(REFUSED, _PENALTY),
    "_bad_words_token_ids": _INTERNAL,
    "skip_reading_prefix_cache": Field(HONOURED, "the cache's keys tell what was fed"),
    "thinking_token_budget": Field(REFUSED, "ends thinking by tokens of vLLM's own; use softthink.phase.budget"),
    "repetition_detection": Field(HONOURED, "compares shown tokens, thinking included"),
    "trace_decode_token_ids": Field(REFUSED, "sets every token, and a law draws those of thinking; leave it out"),
}


def check_sampling(params: object) -> None:
    """Refuse the fields that a soft request cannot honour.

    Args:
        params: vLLM's ``SamplingParams``, of whichever release.

    Raises:
        ValueError: naming every field that is set, its value, the reason and the fix.
    """
    asked = {name: getattr(params, name, None) for name, field in FIELDS.items() if field.use == REFUSED}
    problems = [
        f"{name}={shown(value)} in a soft request: {FIELDS[name].why}"
        for name, value in asked.items()
        if value and value != FIELDS[name].neutral
    ]
    if problems:
        raise ValueError("\n".join(problems))


def sampling_table() -> str:
    """Markdown, a row for each field that a user sets, in vLLM's order."""
    rows = ["| field of `SamplingParams` | in a soft request | |", "|---|---|---|"]
    rows += [f"| `{name}` | {field.use} | {field.why} |" for name, field in FIELDS.items() if not name.startswith("_")]
    return "\n".join(rows)
