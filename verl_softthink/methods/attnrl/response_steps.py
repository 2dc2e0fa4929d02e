"""From a response's tokens to what the plan needs: its steps, where thinking ends, and where a branch may start."""

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from verl_softthink.methods.attnrl.influence import without_answer
from verl_softthink.methods.attnrl.plan import ScoredResponse
from verl_softthink.methods.attnrl.steps import Steps, segment
from verl_softthink.thinking import EndOfThinking, vocabulary_texts
from verl_softthink.trace import SoftTrace


class ResponseParser:
    """Parses responses with one tokenizer.

    Args:
        tokenizer: of the policy.
        separators: what ends a step, in order of preference.
        marker: text or ids of the end-of-thinking marker.
        match: how it is looked for, as in ``softthink.phase``.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        separators: Sequence[str],
        marker: str | Sequence[int],
        match: Literal["text", "tokens"] | None = None,
    ):
        self._tokenizer, self._separators = tokenizer, tuple(separators)
        self._end = EndOfThinking(tokenizer, marker, match)

    @cached_property
    def _texts(self) -> list[str]:
        return vocabulary_texts(self._tokenizer)

    def steps(self, response: Int[Tensor, " T"], sampled: int) -> Steps:
        """The steps of a response; what a chat template appends to its ``sampled`` tokens belongs to the last one."""
        texts = [self._texts[token] for token in response[:sampled].tolist()]
        return segment(texts + [""] * (len(response) - sampled), self._separators)

    def end_of_thinking(self, response: Int[Tensor, " T"]) -> int | None:
        """Position of the token in which the end-of-thinking marker begins; None without one."""
        found = self._end.find(response)
        return None if found is None else found.start

    def scored(
        self,
        response: Int[Tensor, " T"],
        sampled: int,
        *,
        influence: Float[Tensor, " S"] | None,
        entropy: Float[Tensor, " T"],
        correct: bool,
        trace: SoftTrace | None = None,
    ) -> ScoredResponse:
        """What the plan needs of a response of T tokens and S steps.

        Args:
            response: [T] int64.
            sampled: number of its tokens before those that a chat template appends.
            influence: [S] of its steps as the engine measures it; None if it was not measured.
            entropy: [T] nats.
            correct: whether its reward is 1.
            trace: of a soft response, which says where thinking was ended; None for ordinary tokens.
        """
        steps = self.steps(response, sampled)
        ends = (self.end_of_thinking(response), None if trace is None else trace.end_of_thinking)
        # A soft thought may be cut short without the marker, and a marker of several tokens begins before it ends one.
        end = min((at for at in ends if at is not None), default=None)
        if influence is None:
            of_steps = torch.zeros(len(steps))
        else:
            # Ranges start with the prompt, which ``influence`` leaves out.
            last = None if end is None else steps.of_token(end) + 1
            of_steps = without_answer(torch.nn.functional.pad(influence.float(), (1, 0)), last)[1:]
        # The model's decision to end thinking may be resampled. Forced tokens may not: phase control would force them
        # again.
        limit = sampled if end is None else min(sampled, end + 1)
        eligible = torch.arange(len(response)) < limit
        if trace is not None:
            eligible &= ~trace.forced
        return ScoredResponse(steps, of_steps, correct, entropy=entropy, eligible=eligible)
