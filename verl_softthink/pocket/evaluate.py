"""Accuracy and length of the model's responses, by Hugging Face generation."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from verl_softthink.pocket.data import DATA_SOURCE
from verl_softthink.pocket.reward import compute_score
from verl_softthink.pocket.tasks import Problem

MAX_RESPONSE_LENGTH = 64


@dataclass(frozen=True)
class Evaluation:
    """Result over the problems of one call.

    Attributes:
        accuracy: mean exact-match reward, one response per problem.
        response_length: mean number of response tokens, the end-of-sequence token included.
        longest_response: the largest number of response tokens.
    """

    accuracy: float
    response_length: float
    longest_response: int


@torch.no_grad()
def evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    problems: Sequence[Problem],
    *,
    sample: bool,
    seed: int,
    longest: int = MAX_RESPONSE_LENGTH,
) -> Evaluation:
    """One response per problem, all in one batch.

    Args:
        sample: draw at temperature 1 from the whole vocabulary; otherwise decode greedily.
        seed: of the draws; the global generator is left as it was.
        longest: most tokens of a response.
    """
    prompts = tokenizer.apply_chat_template(
        [[{"role": "user", "content": problem.question}] for problem in problems],
        add_generation_prompt=True,
        padding=True,
        return_tensors="pt",
        return_dict=True,
    )
    sampling = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0} if sample else {"do_sample": False}
    training = model.training
    model.eval()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        sequences = model.generate(**prompts, max_new_tokens=longest, **sampling)
    model.train(training)
    responses = sequences[:, prompts["input_ids"].shape[1] :]
    lengths = (responses != tokenizer.pad_token_id).sum(-1)
    texts = tokenizer.batch_decode(responses, skip_special_tokens=True)
    scores = [compute_score(DATA_SOURCE, text, problem.answer) for text, problem in zip(texts, problems, strict=True)]
    return Evaluation(
        accuracy=sum(scores) / len(scores),
        response_length=lengths.float().mean().item(),
        longest_response=int(lengths.max()),
    )
