"""A response's tokens as the plan needs them: its steps, where thinking ends, and where a branch may start."""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from verl_softthink.methods.attnrl.influence import without_answer
from verl_softthink.methods.attnrl.plan import ScoredResponse
from verl_softthink.methods.attnrl.steps import Steps, segment
from verl_softthink.thinking import thinking_length, token_ids, vocabulary_texts
from verl_softthink.trace import SoftTrace


class Reader:
    """Tables of one tokenizer.

    Args:
        tokenizer: of the policy.
        separators: what ends a step, in the order of preference.
        marker: text or ids of the end-of-thinking marker.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, separators: Sequence[str], marker: str | Sequence[int]):
        self._tokenizer, self._separators = tokenizer, tuple(separators)
        self._marker = token_ids(tokenizer, marker)

    @cached_property
    def _texts(self) -> list[str]:
        return vocabulary_texts(self._tokenizer)

    def steps(self, response: Tensor, sampled: int) -> Steps:
        """The steps of a response [T]; what a chat template adds behind its ``sampled`` tokens is in the last one."""
        texts = [self._texts[token] for token in response[:sampled].tolist()]
        return segment(texts + [""] * (len(response) - sampled), self._separators)

    def end_of_thinking(self, response: Tensor) -> int | None:
        """Position of the marker's first token; None without a marker."""
        return thinking_length(response, self._marker)

    def scored(
        self,
        response: Tensor,
        sampled: int,
        *,
        influence: Tensor | None,
        entropy: Tensor,
        correct: bool,
        trace: SoftTrace | None = None,
    ) -> ScoredResponse:
        """What the plan reads of a response of T tokens and S steps.

        Args:
            response: [T] int64.
            sampled: its first tokens, which the model drew.
            influence: [S] of its steps as the engine measures it; None where none was measured.
            entropy: [T] nats.
            correct: its reward.
            trace: of a soft response, which knows where thinking ended; None for ordinary tokens.
        """
        steps = self.steps(response, sampled)
        end = self.end_of_thinking(response) if trace is None else trace.end_of_thinking
        if influence is None:
            of_steps = torch.zeros(len(steps))
        else:
            # Ranges count from the prompt, which has no influence of its own here.
            last = None if end is None else steps.of_token(end) + 1
            of_steps = without_answer(torch.nn.functional.pad(influence.float(), (1, 0)), last)[1:]
        # Whether to end thinking is thinking's last decision, so what ended it may be drawn anew. What phase control
        # placed was nobody's decision, and would be placed again.
        limit = sampled if end is None else min(sampled, end + 1)
        eligible = torch.arange(len(response)) < limit
        if trace is not None:
            eligible &= ~trace.forced
        return ScoredResponse(steps, of_steps, correct, entropy=entropy, eligible=eligible)
