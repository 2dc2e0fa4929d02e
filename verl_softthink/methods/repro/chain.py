"""Score one given chain of thought under one checkpoint, outside of any training run."""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from verl_softthink.methods.repro.answer_attention import AnswerAttention
from verl_softthink.methods.repro.cut_positions import find_places
from verl_softthink.methods.repro.fields import ANSWER, KINDS
from verl_softthink.methods.repro.kv_capture import KeptKeys
from verl_softthink.methods.repro.preparation import Preparation
from verl_softthink.methods.repro.results import ProcessRewards, process_rewards
from verl_softthink.methods.repro.scoring import score_places
from verl_softthink.methods.repro.settings import ReproSettings


@dataclass(frozen=True)
class ScoredChain:
    """One response of T tokens.

    Attributes:
        response: [T] int64.
        log_probs: [T] float32 of its tokens.
        results: rewards of its pieces, a batch of one.
    """

    response: Tensor
    log_probs: Tensor
    results: ProcessRewards

    def pieces(self, tokenizer: PreTrainedTokenizerBase) -> list[str]:
        """The text of every piece."""
        cuts = self.results.cuts[0].tolist()
        spans = zip(cuts, cuts[1:], strict=False)
        return [tokenizer.decode(self.response[begin:end]) for begin, end in spans]


@torch.no_grad()
def score_chain(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: Tensor,
    response: Tensor,
    answer: str,
    settings: ReproSettings,
    marker: str,
) -> ScoredChain:
    """Score a chain.

    Args:
        model: the policy, in evaluation mode.
        tokenizer: its tokenizer.
        prompt, response: [S] and [T] int64 token ids.
        answer: the ground truth.
        settings: how to cut and score.
        marker: the end-of-thinking marker.

    Raises:
        ValueError: an empty answer, or a response without thinking.
    """
    preparation = Preparation(tokenizer, settings, marker)
    thinking = preparation.thinking(response)
    if not answer or not thinking.length:
        raise ValueError(
            f"answer={answer!r} and a thinking region of {thinking.length} tokens: there is nothing to score"
        )
    sequence = torch.cat((prompt, response))
    jagged = {
        name: torch.nested.as_nested_tensor([row], layout=torch.jagged)
        for name, row in {
            KINDS: thinking.kinds,
            ANSWER: preparation.answer(answer),
            "input_ids": sequence,
            "responses": response,
        }.items()
    }
    places = find_places(jagged, jagged["input_ids"], jagged["responses"], preparation.lead_in)
    starts = torch.zeros(1, dtype=torch.int64)
    kept = KeptKeys(model.config)
    with kept.keeping():
        logits = model(input_ids=sequence[None], use_cache=False).logits
        cuts, surrogate = score_places(
            lambda tokens, ids, at: kept.score(model, AnswerAttention(tokens, starts), ids, at),
            logits,
            places,
            starts,
            places.prefix,
            torch.ones(1),
            segments=settings.segments,
        )
    log_probs = logits[0, len(prompt) - 1 : -1].float().log_softmax(-1).gather(-1, response[:, None])[:, 0]
    return ScoredChain(response, log_probs, process_rewards(cuts, surrogate, settings))
