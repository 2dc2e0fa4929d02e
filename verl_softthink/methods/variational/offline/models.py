"""Checkpoints as the stages use them: vLLM samples responses, transformers scores given ones."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import PreTrainedModel

from verl_softthink.files.checkpoint import load_model as load_checkpoint

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


def load_model(path: str) -> PreTrainedModel:
    """The checkpoint in its own precision (float32 on a CPU), on the accelerator if there is one.

    Raises:
        FileError: it is damaged.
    """
    accelerator = torch.accelerator.is_available()
    model = load_checkpoint(path, dtype="auto" if accelerator else torch.float32)
    return model.to(torch.accelerator.current_accelerator()) if accelerator else model


@torch.no_grad()
def response_log_probs(model: PreTrainedModel, prompt: list[int], response: list[int], temperature: float) -> Tensor:
    """[T] float32 log-probs of the T response tokens after the prompt, at a temperature; on the CPU."""
    ids = torch.tensor([prompt + response], device=model.device)
    # The logits of the last position predict the token after the response.
    logits = model(ids, logits_to_keep=len(response) + 1).logits[0, :-1].float() / temperature
    targets = ids[0, len(prompt) :, None]
    return logits.log_softmax(-1).gather(-1, targets)[:, 0].cpu()
