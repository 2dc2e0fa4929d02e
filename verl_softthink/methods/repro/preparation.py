"""From the tokens of a batch to what the scoring pass needs: where each response may be cut, and its right answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from verl_softthink.methods.repro.cuts import MUST_CUT, NO_CUT, cut_kinds, segment_starts, thinking_region
from verl_softthink.methods.repro.delimiters import DelimiterTable, build_delimiter_table
from verl_softthink.methods.repro.fields import NO_ANSWER
from verl_softthink.methods.repro.settings import ReproSettings
from verl_softthink.thinking import EndOfThinking, vocabulary_texts


@dataclass(frozen=True)
class Thinking:
    """The thinking region of one response of T tokens.

    Attributes:
        length: tokens of the region.
        starts: [S] int64, first tokens of its segments, the one at 0 excepted.
        kinds: [T + 1] int64, of ``cuts.cut_kinds``.
    """

    length: int
    starts: Tensor
    kinds: Tensor


class Preparation:
    """Tables of one tokenizer and one set of settings.

    Args:
        tokenizer: of the policy.
        settings: delimiters and templates.
        marker: text or ids of the end-of-thinking marker.
        match: how it is looked for, as in ``softthink.phase``.

    Raises:
        ValueError: when no token of the vocabulary can end a segment.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        settings: ReproSettings,
        marker: str | Sequence[int],
        match: Literal["text", "tokens"] | None = None,
    ):
        self._tokenizer, self._settings = tokenizer, settings
        self._end = EndOfThinking(tokenizer, marker, match)
        self._stop_ids = frozenset(tokenizer.all_special_ids)
        if not self.table.accepts[self.table.next_state.long()].any():
            raise ValueError(
                f"softthink.repro.delimiters={list(settings.delimiters)!r}: no token of the vocabulary ends one of "
                "them, so no response would have segments; give delimiters that the model writes"
            )

    @cached_property
    def _texts(self) -> list[str]:
        return vocabulary_texts(self._tokenizer)

    @cached_property
    def table(self) -> DelimiterTable:
        """The matcher of the delimiters."""
        return build_delimiter_table(self._texts, self._settings.delimiters)

    @cached_property
    def backtracks(self) -> Tensor:
        """[V] bool, first tokens of segments that backtrack."""
        words = {word.casefold() for word in self._settings.backtracking}
        return torch.tensor([text.strip().casefold() in words for text in self._texts])

    @cached_property
    def lead_in(self) -> list[int]:
        """Token ids between a prefix and the answer."""
        return self._tokenizer.encode(self._settings.lead_in, add_special_tokens=False)

    def answer(self, ground_truth: object) -> Tensor:
        """[A] int64 ids of the right answer, or the single ``NO_ANSWER``."""
        text = self._settings.answer_text(ground_truth)
        ids = [] if text is None else self._tokenizer.encode(text, add_special_tokens=False)
        return torch.tensor(ids or [NO_ANSWER])

    def thinking(self, response: Tensor) -> Thinking:
        """The thinking region of one response [T], and where it may be cut."""
        length = thinking_region(response, self._end, self._stop_ids)
        starts = segment_starts(self.table.segment_ends(response), length)
        return Thinking(length, starts, cut_kinds(starts, length, len(response)))


def uncut(length: int) -> Tensor:
    """[length + 1] int64, the cut kinds of verl's padding rows: the bare prompt alone."""
    kinds = torch.full((length + 1,), NO_CUT)
    kinds[0] = MUST_CUT
    return kinds
