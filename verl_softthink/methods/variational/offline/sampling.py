"""Responses and answers from vLLM."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vllm import LLM


def sample(
    llm: "LLM", prompts: list[list[int]], *, count: int, temperature: float, max_tokens: int, seeds: list[int]
) -> list[list[list[int]]]:
    """``count`` responses to each prompt, as token ids with their end-of-sequence token.

    Args:
        seeds: one per prompt, so that a repeated shard repeats its responses.
    """
    from vllm import SamplingParams, TokensPrompt

    parameters = [
        SamplingParams(n=count, temperature=temperature, max_tokens=max_tokens, seed=seed, detokenize=False)
        for seed in seeds
    ]
    outputs = llm.generate([TokensPrompt(prompt_token_ids=ids) for ids in prompts], parameters, use_tqdm=False)
    return [[list(response.token_ids) for response in output.outputs] for output in outputs]
